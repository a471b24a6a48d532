"""Transposed convolutions: they are computed in full and cropped, unless the kernel pads as PyTorch does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import (
    as_image,
    convolve,
    cut_groups,
    spread,
    to_channels_first,
    to_channels_last,
)
from edgeconv.lowering.families.shaping import pad_constant
from edgeconv.lowering.registry import lower

Ints = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """One number for each spatial axis; `after` is less than `before` by the output padding, and may be negative."""

    kernel: list[int]
    stride: list[int]
    before: list[int]
    after: list[int]

    def full_size(self, sizes: Sequence[Size]) -> list[Size]:
        axes = zip(sizes, self.stride, self.kernel, strict=True)
        return [(size - 1) * stride + kernel for size, stride, kernel in axes]

    def is_same(self) -> bool:
        """Whether TFLite's SAME crops just as much: to the input's size times the stride, more at the end."""
        crops = zip(self.kernel, self.stride, self.before, self.after, strict=True)
        return all(
            (before, after) == ((k - s) // 2, k - s - (k - s) // 2) and k >= s
            for k, s, before, after in crops
        )


@lower("aten.conv_transpose1d", "aten.conv_transpose2d", "aten.conv_transpose3d")
def conv_transpose(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Ints = 1,
    padding: int | Ints = 0,
    output_padding: int | Ints = 0,
    groups: int = 1,
    dilation: int | Ints = 1,
) -> Tensor:
    return _conv_transpose(b, x, weight, bias, (stride, padding, output_padding, groups, dilation))


def _conv_transpose(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: tuple[int | Ints, int | Ints, int | Ints, int, int | Ints],
) -> Tensor:
    axes, groups = weight.rank - 2, options[3]
    weight = _dilate(b, weight, spread(options[4], axes))
    stride, before, extra = (spread(value, axes) for value in options[:3])
    window = _Window(
        kernel=[int(str(size)) for size in weight.shape[2:]],
        stride=stride,
        before=before,
        after=[p - e for p, e in zip(before, extra, strict=True)],
    )
    batched = x if x.rank == weight.rank else b.reshape(x, (1, *x.shape))
    image, kernel = (
        to_channels_last(b, batched),
        b.transpose(weight, (1, *range(2, weight.rank), 0)),
    )
    if axes == 1:
        image, kernel, window = as_image(b, image), as_image(b, kernel), _widen(window)
    result = _transpose(b, image, kernel, bias, groups, window)
    if axes == 1:
        result = b.reshape(result, (result.shape[0], *result.shape[2:]))
    result = to_channels_first(b, result)
    return result if x.rank == weight.rank else b.reshape(result, result.shape[1:])


def _widen(window: _Window) -> _Window:
    """Of an image of height 1."""
    return _Window(
        kernel=[1, *window.kernel],
        stride=[1, *window.stride],
        before=[0, *window.before],
        after=[0, *window.after],
    )


def _transpose(
    b: LoweringBuilder,
    image: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    groups: int,
    window: _Window,
) -> Tensor:
    # Beyond the full result there is nothing but the bias.
    is_inside = groups == 1 and min(window.after) >= 0 and (bias is None or bias.is_constant)
    inner = bias if is_inside else None
    pairs = zip(cut_groups(b, image, -1, groups), cut_groups(b, kernel, -1, groups), strict=True)
    parts = [_convolve(b, part, taps, inner, window) for part, taps in pairs]
    axis = image.rank - 1
    result = parts[0] if groups == 1 else b.node("CONCATENATION", parts, axis=axis).output
    return result if bias is inner or bias is None else b.op("ADD", result, bias)


def _convolve(
    b: LoweringBuilder, image: Tensor, kernel: Tensor, bias: Tensor | None, window: _Window
) -> Tensor:
    n, *sizes, _ = image.shape
    if len(sizes) == 3:
        kernel = b.transpose(kernel, (1, 2, 3, 0, 4))
        op, outputs, letters = "CONV_3D_TRANSPOSE", kernel.shape[3], "dhw"
    else:
        op, outputs, letters = "TRANSPOSE_CONV", kernel.shape[0], "hw"
    strides = {f"stride_{a}": s for a, s in zip(letters, window.stride, strict=True)}
    if len(sizes) == 2 and window.is_same():
        same = [size * stride for size, stride in zip(sizes, window.stride, strict=True)]
        shape = (n, *same, outputs)
        return b.op(op, image, kernel, bias, output_shape=shape, padding="SAME", **strides)
    shape = (n, *window.full_size(sizes), outputs)
    full = b.op(op, image, kernel, bias, output_shape=shape, **strides)
    before, after = ([-p for p in sides] for sides in (window.before, window.after))
    return pad_constant(b, full, (0, *before, 0), (0, *after, 0))


def _dilate(b: LoweringBuilder, weight: Tensor, dilation: Ints) -> Tensor:
    """The kernel with zeros between its taps, since transposed kernels know no dilation."""
    if set(dilation) == {1}:
        return weight
    if weight.constant is None:
        for axis, step in enumerate(dilation, start=2):
            weight = _space_out(b, weight, axis, step)
        return weight
    kernel = weight.constant.shape[2:]
    wide = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    spaced = np.zeros((*weight.constant.shape[:2], *wide), dtype=weight.constant.dtype)
    spaced[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = weight.constant
    return b.constant(spaced)


def _space_out(b: LoweringBuilder, x: Tensor, axis: int, step: int) -> Tensor:
    """`x` with zeros between its elements along an axis: every element becomes a row that they end."""
    size = x.shape[axis]
    single = b.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    before = [0] * single.rank
    after = [step - 1 if i == axis + 1 else 0 for i in range(single.rank)]
    rows = pad_constant(b, single, before, after)
    flat = b.reshape(rows, (*x.shape[:axis], size * step, *x.shape[axis + 1 :]))
    return b.slice(flat, axis, 0, (size - 1) * step + 1)


@lower("aten.convolution", "aten._convolution")
def convolution(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    *_: object,
) -> Tensor:
    """Both kinds in one: how PyTorch itself calls them after decompositions."""
    if transposed:
        options = (stride, padding, output_padding, groups, dilation)
        return _conv_transpose(b, x, weight, bias, options)
    return convolve(b, x, weight, bias, (stride, padding, dilation, groups))
