"""Convolution, pooling and sampling."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import find_padding, spread
from edgeconv.lowering.families.pooling import Axis, axes_of_window
from edgeconv.lowering.registry import Lowering, lower

__all__ = ["LOWERINGS"]

Ints = Sequence[int]
_MODES = ("linear", "nearest", "cubic")
_PADDING_MODES = ("zeros", "border", "reflection")


@lower("aten.conv1d", "aten.conv2d", "aten.conv3d")
def conv(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Ints = 1,
    padding: str | int | Ints = 0,
    dilation: int | Ints = 1,
    groups: int = 1,
) -> Tensor | None:
    return _conv(b, x, weight, bias, (stride, padding, dilation, groups))


def _conv(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: tuple[int | Ints, str | int | Ints, int | Ints, int],
) -> Tensor | None:
    if not x.dtype.is_floating:
        return None
    stride, padding, dilation, groups = options
    axes = weight.rank - 2
    dilations = spread(dilation, axes)
    kernel = [int(str(size)) for size in weight.shape[2:]]
    before, after = find_padding(padding, kernel, dilations)
    result = b.op(
        "CONV",
        _batched(b, x, weight.rank),
        weight,
        bias,
        strides=tuple(spread(stride, axes)),
        before=tuple(before),
        after=tuple(after),
        dilations=tuple(dilations),
        groups=groups,
    )
    return _like(b, result, x)


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
) -> Tensor | None:
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(b, x, weight, bias, options)


def _conv_transpose(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: tuple[int | Ints, int | Ints, int | Ints, int, int | Ints],
) -> Tensor | None:
    if not x.dtype.is_floating:
        return None
    stride, padding, output_padding, groups, dilation = options
    axes = weight.rank - 2
    cut = tuple(spread(padding, axes))
    result = b.op(
        "CONV_TRANSPOSE",
        _batched(b, x, weight.rank),
        weight,
        bias,
        strides=tuple(spread(stride, axes)),
        before=cut,
        after=cut,
        dilations=tuple(spread(dilation, axes)),
        output_padding=tuple(spread(output_padding, axes)),
        groups=groups,
    )
    return _like(b, result, x)


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
) -> Tensor | None:
    """Both kinds in one: how PyTorch itself calls them after decompositions."""
    if transposed:
        options = (stride, padding, output_padding, groups, dilation)
        return _conv_transpose(b, x, weight, bias, options)
    return _conv(b, x, weight, bias, (stride, padding, dilation, groups))


def _batched(b: LoweringBuilder, x: Tensor, rank: int) -> Tensor:
    return x if x.rank == rank else b.reshape(x, (1, *x.shape))


def _like(b: LoweringBuilder, result: Tensor, x: Tensor) -> Tensor:
    """Without the batch axis that `x` had not."""
    return result if x.rank == result.rank else b.reshape(result, result.shape[1:])


def _max_pooling(count: int) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        kernel_size: int | Ints,
        stride: int | Ints = (),
        padding: int | Ints = 0,
        dilation: int | Ints = 1,
        ceil_mode: bool = False,
    ) -> Tensor | None:
        window = (kernel_size, stride, padding, dilation)
        axes = axes_of_window(b, x, count, window, is_ceil=ceil_mode)
        if not x.dtype.is_floating or not all(map(_is_within_kernel, axes)):
            return None
        return _pool(b, "MAX_POOL", x, axes)

    return Lowering((f"aten.max_pool{count}d",), function)


def _average_pooling(count: int) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        kernel_size: int | Ints,
        stride: int | Ints = (),
        padding: int | Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor | None:
        axes = axes_of_window(b, x, count, (kernel_size, stride, padding, 1), is_ceil=ceil_mode)
        # ONNX and PyTorch differ in what they count of a window that reaches beyond the padding.
        if not x.dtype.is_floating or divisor_override or any(a.after != a.padding for a in axes):
            return None
        return _pool(b, "AVERAGE_POOL", x, axes, counts_padding=count_include_pad)

    return Lowering((f"aten.avg_pool{count}d",), function)


def _is_within_kernel(axis: Axis) -> bool:
    """ONNX Runtime takes no more padding than that."""
    return isinstance(axis.after, int) and max(axis.padding, axis.after) < axis.kernel


def _pool(b: LoweringBuilder, op: str, x: Tensor, axes: list[Axis], **options: bool) -> Tensor:
    after: list[Size] = [axis.after for axis in axes]
    result = b.op(
        op,
        _batched(b, x, len(axes) + 2),
        kernel=tuple(axis.kernel for axis in axes),
        strides=tuple(axis.stride for axis in axes),
        before=tuple(axis.padding for axis in axes),
        after=tuple(after),
        dilations=tuple(axis.dilation for axis in axes),
        **options,
    )
    return _like(b, result, x)


@lower("aten.grid_sampler", "aten.grid_sampler_2d", "aten.grid_sampler_3d")
def grid_sampler(
    b: LoweringBuilder,
    image: Tensor,
    grid: Tensor,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> Tensor:
    """Source: Jaderberg et al., "Spatial Transformer Networks"; the grid holds x, y (, z) in [-1, 1]."""
    return b.op(
        "GRID_SAMPLE",
        image,
        grid,
        mode=_MODES[interpolation_mode],
        padding_mode=_PADDING_MODES[padding_mode],
        align_corners=align_corners,
    )


LOWERINGS = (
    conv,
    conv_transpose,
    convolution,
    grid_sampler,
    *(make(count) for make in (_max_pooling, _average_pooling) for count in (1, 2, 3)),
)
