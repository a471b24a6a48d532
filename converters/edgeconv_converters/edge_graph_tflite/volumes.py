"""Convolutions of volumes as convolutions of planes, for which there are fast kernels.

A kernel that is one deep convolves each plane by itself; one that is one high and wide convolves a single plane whose rows are
the depth. Any other one convolves planes whose channels are those of all the planes that it reaches.
"""

from __future__ import annotations

import numpy as np

from edgeconv.dims import is_static
from edgeconv.graph import Builder, Node, Tensor

__all__ = ["convolve_by_planes"]


def convolve_by_planes(b: Builder, node: Node) -> Tensor | None:
    """What replaces a `CONV_3D` of static sizes and a known weight; None for others."""
    x, weight = node.input(0), node.input(1).constant
    if weight is None or not is_static((*x.shape, *node.output.shape)) or not _is_whole(node):
        return None
    depth, height, width, *_ = weight.shape
    if (height, width) == (1, 1) and (node.integer("stride_h"), node.integer("stride_w")) == (1, 1):
        return _along_depth(b, node, weight)
    return _over_planes(b, node, weight, depth)


def _is_whole(node: Node) -> bool:
    """Whether each channel that comes out reads every channel that goes in."""
    return node.input(0).shape[4] == node.input(1).shape[3]


def _along_depth(b: Builder, node: Node, weight: np.ndarray) -> Tensor:
    """A plane of depth times (height times width), and a kernel that is one wide."""
    n, d, h, w, channels = _sizes(node.input(0))
    plane = b.op("RESHAPE", node.input(0), shape=(n, d, h * w, channels))
    kernel = weight.reshape(weight.shape[0], 1, channels, -1).transpose(3, 0, 1, 2)
    made = b.op(
        "CONV_2D",
        plane,
        _constant(b, node, kernel),
        *node.inputs[2:],
        stride_h=node.integer("stride_d"),
        dilation_h_factor=node.integer("dilation_d_factor"),
        padding=node.text("padding"),
        fused_activation_function=node.text("fused_activation_function"),
    )
    return b.op("RESHAPE", made, shape=node.output.shape)


def _over_planes(b: Builder, node: Node, weight: np.ndarray, depth: int) -> Tensor:
    """All planes as a batch, each with the channels of the planes that the kernel reaches from it."""
    n, _, h, w, _ = _sizes(node.input(0))
    _, planes, *_ = _sizes(node.output)
    stride, dilation = node.integer("stride_d"), node.integer("dilation_d_factor")
    x = _pad_depth(b, node, planes, (depth - 1) * dilation + 1)
    reached = [_every(b, x, tap * dilation, planes, stride) for tap in range(depth)]
    x = reached[0] if depth == 1 else b.node("CONCATENATION", reached, axis=4).output
    channels = x.shape[4]
    batch = b.op("RESHAPE", x, shape=(n * planes, h, w, channels))
    # [d, h, w, in, out] to [out, h, w, d * in]
    kernel = weight.transpose(4, 1, 2, 0, 3).reshape(weight.shape[4], *weight.shape[1:3], -1)
    kept = ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor", "padding")
    attributes = {name: node.attributes[name] for name in (*kept, "fused_activation_function")}
    made = b.op("CONV_2D", batch, _constant(b, node, kernel), *node.inputs[2:], **attributes)
    return b.op("RESHAPE", made, shape=node.output.shape)


def _pad_depth(b: Builder, node: Node, planes: int, reach: int) -> Tensor:
    x = node.input(0)
    if node.text("padding") != "SAME":
        return x
    total = max((planes - 1) * node.integer("stride_d") + reach - _sizes(x)[1], 0)
    if total == 0:
        return x
    before, after = total // 2, total - total // 2
    return b.op("PAD", x, before=(0, before, 0, 0, 0), after=(0, after, 0, 0, 0))


def _every(b: Builder, x: Tensor, start: int, count: int, stride: int) -> Tensor:
    """`count` planes from `start` on, `stride` apart."""
    n, d, h, w, channels = _sizes(x)
    if (start, count, stride) == (0, d, 1):
        return x
    end = start + count * stride
    if end > d:
        x = b.op("PAD", x, before=(0,) * 5, after=(0, end - d, 0, 0, 0))
    strides = (1,) * 5
    x = b.op(
        "STRIDED_SLICE", x, begin=(0, start, 0, 0, 0), end=(n, end, h, w, channels), strides=strides
    )
    if stride == 1:
        return x
    size = h * w * channels
    groups = b.op("RESHAPE", x, shape=(n, count, stride, size))
    first = b.op("STRIDED_SLICE", groups, begin=(0,) * 4, end=(n, count, 1, size), strides=(1,) * 4)
    return b.op("RESHAPE", first, shape=(n, count, h, w, channels))


def _constant(b: Builder, node: Node, values: np.ndarray) -> Tensor:
    return b.constant(np.ascontiguousarray(values), node.input(1).name)


def _sizes(x: Tensor) -> tuple[int, ...]:
    return tuple(int(str(size)) for size in x.shape)
