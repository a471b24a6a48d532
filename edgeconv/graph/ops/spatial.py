"""Convolution, pooling and resizing, channels last: images are NHWC, volumes NDHWC."""

from __future__ import annotations

from edgeconv.dims import Size
from edgeconv.graph.model import Attribute, Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect

__all__ = ["OPS"]

_WINDOW: dict[str, Attribute] = {"padding": "VALID", "fused_activation_function": "NONE"}
_CONV_2D: dict[str, Attribute] = {
    "stride_h": 1,
    "stride_w": 1,
    "dilation_h_factor": 1,
    "dilation_w_factor": 1,
    **_WINDOW,
}
_CONV_3D: dict[str, Attribute] = {"stride_d": 1, **_CONV_2D, "dilation_d_factor": 1}


def _window_size(size: Size, window: Size, stride: int, dilation: int, padding: str) -> Size:
    if padding == "SAME":
        return (size + (stride - 1)) // stride
    return (size - (window - 1) * dilation - 1) // stride + 1


def _infer_conv_2d(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    n, h, w, channels = x.shape
    outputs, window_h, window_w, per_group = weight.shape
    if isinstance(channels, int) and isinstance(per_group, int):
        expect(channels % per_group == 0, node, "the channels do not divide into groups")
    rows = _spatial(node, h, window_h, "h")
    return [(x.dtype, (n, rows, _spatial(node, w, window_w, "w"), outputs))]


def _spatial(node: Node, size: Size, window: Size, axis: str) -> Size:
    stride, dilation = node.integer(f"stride_{axis}"), node.integer(f"dilation_{axis}_factor")
    return _window_size(size, window, stride, dilation, node.text("padding"))


def _infer_depthwise(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    n, h, w, channels = x.shape
    _, window_h, window_w, outputs = weight.shape
    fits = outputs == channels * node.integer("depth_multiplier")
    expect(fits, node, "the weight does not fit the channels")
    rows = _spatial(node, h, window_h, "h")
    return [(x.dtype, (n, rows, _spatial(node, w, window_w, "w"), outputs))]


def _infer_conv_3d(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    window, outputs = weight.shape[:3], weight.shape[4]
    sizes = tuple(
        _spatial(node, s, k, a) for s, k, a in zip(x.shape[1:4], window, "dhw", strict=True)
    )
    return [(x.dtype, (x.shape[0], *sizes, outputs))]


def _infer_shaped_like_attribute(node: Node) -> list[TensorType]:
    return [(node.input(0).dtype, node.sizes("output_shape"))]


def _infer_pool(node: Node) -> list[TensorType]:
    n, h, w, c = node.input(0).shape
    padding = node.text("padding")
    rows = _window_size(h, node.integer("filter_height"), node.integer("stride_h"), 1, padding)
    columns = _window_size(w, node.integer("filter_width"), node.integer("stride_w"), 1, padding)
    return [(node.input(0).dtype, (n, rows, columns, c))]


def _infer_resize(node: Node) -> list[TensorType]:
    n, _, _, c = node.input(0).shape
    h, w = node.sizes("size")
    return [(node.input(0).dtype, (n, h, w, c))]


OPS = (
    # x NHWC, weight [outputs, h, w, channels / groups], optional bias [outputs].
    OpSpec(name="CONV_2D", arity=(2, 3), infer=_infer_conv_2d, attributes=_CONV_2D),
    # x NHWC, weight [1, h, w, channels * depth_multiplier], optional bias.
    OpSpec(
        name="DEPTHWISE_CONV_2D",
        arity=(2, 3),
        infer=_infer_depthwise,
        attributes={**_CONV_2D, "depth_multiplier": 1},
    ),
    # x NDHWC, weight [d, h, w, channels, outputs], optional bias.
    OpSpec(name="CONV_3D", arity=(2, 3), infer=_infer_conv_3d, attributes=_CONV_3D),
    # x NHWC, weight [outputs, h, w, channels], optional bias; the shape of the result is an attribute.
    OpSpec(
        name="TRANSPOSE_CONV",
        arity=(2, 3),
        infer=_infer_shaped_like_attribute,
        attributes={"stride_h": 1, "stride_w": 1, **_WINDOW},
        required=("output_shape",),
    ),
    # x NDHWC, weight [d, h, w, outputs, channels], optional bias; VALID, the shape of the result is an attribute.
    OpSpec(
        name="CONV_3D_TRANSPOSE",
        arity=(2, 3),
        infer=_infer_shaped_like_attribute,
        attributes={"stride_d": 1, "stride_h": 1, "stride_w": 1, **_WINDOW},
        required=("output_shape",),
    ),
    *(
        OpSpec(
            name=name,
            arity=(1, 1),
            infer=_infer_pool,
            attributes=_WINDOW,
            required=("filter_height", "filter_width", "stride_h", "stride_w"),
        )
        for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
    ),
    *(
        OpSpec(
            name=name,
            arity=(1, 1),
            infer=_infer_resize,
            attributes={"align_corners": False, "half_pixel_centers": False},
            required=("size",),
        )
        for name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
    ),
)
