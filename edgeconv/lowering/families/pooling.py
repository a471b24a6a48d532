"""Pooling over windows of one, two or three axes.

TFLite pools over two axes. One axis is an image of height 1; of three, the last two are pooled first and the first one
afterwards, since maxima and means over boxes are maxima and means of maxima and means.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import Size, maximum, product
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import lowest, numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import (
    pad_image,
    spread,
    to_channels_first,
    to_channels_last,
)
from edgeconv.lowering.families.shaping import pad_constant
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import Lowering

Ints = Sequence[int]
# The maxima, or with them where they are.
Pooled = Tensor | list[Tensor | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How one axis is pooled; `result` is the number of windows."""

    size: Size
    result: Size
    kernel: int
    stride: int
    padding: int
    dilation: int = 1
    is_ceil: bool = False

    @property
    def after(self) -> Size:
        """Padding at the end: ceil_mode may reach beyond the padding that was asked for."""
        if not self.is_ceil:
            return self.padding
        reach = (self.kernel - 1) * self.dilation + 1
        needed = (self.result - 1) * self.stride + reach - self.size - self.padding
        if isinstance(needed, int):
            return max(needed, self.padding)
        return maximum(needed, self.padding)


_FLAT = Axis(size=1, result=1, kernel=1, stride=1, padding=0)

# Pools an image NHWC over its two axes.
Pool = Callable[[Tensor, tuple[Axis, Axis]], Tensor]


def _pool(b: LoweringBuilder, x: Tensor, axes: Sequence[Axis], pool: Pool) -> Tensor:
    """Pool the last axes of [n,] c, ..."""
    batched = x if x.rank == len(axes) + 2 else b.reshape(x, (1, *x.shape))
    image = to_channels_last(b, batched)
    n, *sizes, channels = image.shape
    results = [axis.result for axis in axes]
    if len(axes) == 2:
        pooled = pool(image, (axes[0], axes[1]))
    elif len(axes) == 1:
        line = b.reshape(image, (n, 1, sizes[0], channels))
        pooled = b.reshape(pool(line, (_FLAT, axes[0])), (n, results[0], channels))
    else:
        planes = b.reshape(image, (n * sizes[0], *sizes[1:], channels))
        flat = pool(planes, (axes[1], axes[2]))
        columns = b.reshape(flat, (n, sizes[0], results[1] * results[2], channels))
        width = results[1] * results[2]
        rest = Axis(size=width, result=width, kernel=1, stride=1, padding=0)
        pooled = b.reshape(pool(columns, (axes[0], rest)), (n, *results, channels))
    result = to_channels_first(b, pooled)
    return result if x.rank == len(axes) + 2 else b.reshape(result, result.shape[1:])


def axes_of_window(
    b: LoweringBuilder,
    x: Tensor,
    count: int,
    window: tuple[int | Ints, int | Ints, int | Ints, int | Ints],
    *,
    is_ceil: bool,
) -> list[Axis]:
    """How the last axes are pooled; `window` is kernel, stride (the kernel's where it is empty), padding and dilation."""
    kernel = spread(window[0], count)
    stride = spread(window[1], count) if window[1] not in ([], ()) else kernel
    padding, dilation = (spread(value, count) for value in window[2:])
    return [
        Axis(size=s, result=r, kernel=k, stride=t, padding=p, dilation=d, is_ceil=is_ceil)
        for s, r, k, t, p, d in zip(
            x.shape[-count:], b.shape[-count:], kernel, stride, padding, dilation, strict=True
        )
    ]


def max_pooling(
    count: int, name: str, write: Callable[[LoweringBuilder, Tensor, list[Axis]], Pooled]
) -> Lowering:
    """Maximum pooling of the last axes; `write` is given how each of them is pooled."""

    def function(
        b: LoweringBuilder,
        x: Tensor,
        kernel_size: int | Ints,
        stride: int | Ints = (),
        padding: int | Ints = 0,
        dilation: int | Ints = 1,
        ceil_mode: bool = False,
    ) -> Pooled:
        window = (kernel_size, stride, padding, dilation)
        return write(b, x, axes_of_window(b, x, count, window, is_ceil=ceil_mode))

    return Lowering((name,), function)


def max_pool(b: LoweringBuilder, x: Tensor, axes: Sequence[Axis]) -> Tensor:
    """The maxima over windows of the last axes."""
    return _pool(b, x, axes, lambda image, pair: _max_plane(b, image, pair))


max_pool1d = max_pooling(1, "aten.max_pool1d", max_pool)
max_pool2d = max_pooling(2, "aten.max_pool2d", max_pool)
max_pool3d = max_pooling(3, "aten.max_pool3d", max_pool)


def _max_plane(b: LoweringBuilder, image: Tensor, axes: tuple[Axis, Axis]) -> Tensor:
    before, after = [a.padding for a in axes], [a.after for a in axes]
    if any(axis.dilation != 1 for axis in axes):
        wide = pad_constant(b, image, (0, *before, 0), (0, *after, 0), lowest(image.dtype))
        return _max_of_taps(b, wide, axes)
    kernel, stride = [a.kernel for a in axes], [a.stride for a in axes]
    image, mode = pad_image(b, image, before, after, (kernel, stride, [1, 1]), lowest(image.dtype))
    return _window_op(b, "MAX_POOL_2D", image, kernel, stride, mode)


def _max_of_taps(b: LoweringBuilder, image: Tensor, axes: tuple[Axis, Axis]) -> Tensor:
    """The largest of all shifted copies, where the windows have gaps."""
    largest: Tensor | None = None
    for row in range(axes[0].kernel):
        for column in range(axes[1].kernel):
            part = image
            for position, (axis, tap) in enumerate(zip(axes, (row, column), strict=True), start=1):
                begin = tap * axis.dilation
                end = begin + (axis.result - 1) * axis.stride + 1
                part = b.slice(part, position, begin, end, axis.stride)
            part.shape = (image.shape[0], axes[0].result, axes[1].result, image.shape[3])
            largest = part if largest is None else b.op("MAXIMUM", largest, part)
    return image if largest is None else largest


def _average_pooling(count: int, name: str) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        kernel_size: int | Ints,
        stride: int | Ints = (),
        padding: int | Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        axes = axes_of_window(b, x, count, (kernel_size, stride, padding, 1), is_ceil=ceil_mode)
        if not x.dtype.is_floating:
            return _average_integers(b, x, axes, divisor_override, counts_padding=count_include_pad)
        counts = None if divisor_override else count_include_pad

        def pool(image: Tensor, pair: tuple[Axis, Axis]) -> Tensor:
            return _average_plane(b, image, pair, counts)

        result = _pool(b, x, axes, pool)
        if not divisor_override:
            return result
        factor = product(axis.kernel for axis in axes) / divisor_override  # type: ignore[operator]
        return b.op("MUL", result, b.scalar(factor, result.dtype))

    return Lowering((name,), function)


avg_pool1d = _average_pooling(1, "aten.avg_pool1d")
avg_pool2d = _average_pooling(2, "aten.avg_pool2d")
avg_pool3d = _average_pooling(3, "aten.avg_pool3d")


def _average_plane(
    b: LoweringBuilder, image: Tensor, axes: tuple[Axis, Axis], counts_padding: bool | None
) -> Tensor:
    """Zero padding and a plain mean, corrected by how many elements PyTorch counts in each window.

    The number is a product of one number for each axis. None: all of a window, whatever of it is there.
    """
    before, after = [a.padding for a in axes], [a.after for a in axes]
    image = pad_constant(b, image, (0, *before, 0), (0, *after, 0))
    kernel, stride = [a.kernel for a in axes], [a.stride for a in axes]
    result = _window_op(b, "AVERAGE_POOL_2D", image, kernel, stride)
    result.shape = (image.shape[0], axes[0].result, axes[1].result, image.shape[3])
    if counts_padding is None:
        return result
    for position, axis in enumerate(axes, start=1):
        result = _correct(b, result, axis, position, counts_padding=counts_padding)
    return result


def _correct(
    b: LoweringBuilder, result: Tensor, axis: Axis, position: int, *, counts_padding: bool
) -> Tensor:
    is_whole = axis.padding == 0 or counts_padding
    if is_whole and not axis.is_ceil:
        return result
    view: list[Size] = [axis.result if i == position else 1 for i in range(4)]
    if isinstance(axis.size, int) and isinstance(axis.result, int):
        ratio = axis.kernel / _count(axis, axis.size, axis.result, counts_padding=counts_padding)
        if (ratio == 1).all():
            return result
        factor = b.constant(ratio.astype(numpy_dtype(result.dtype)))
        return b.op("MUL", result, b.reshape(factor, view))
    margin = axis.padding if counts_padding else 0
    ones = b.op("FILL", b.scalar(1, result.dtype), shape=(1, axis.size + 2 * margin, 1, 1))
    before, after = axis.padding - margin, axis.after - margin
    padded = b.op("PAD", ones, before=(0, before, 0, 0), after=(0, after, 0, 0))
    share = _window_op(b, "AVERAGE_POOL_2D", padded, [axis.kernel, 1], [axis.stride, 1])
    return b.op("DIV", result, b.reshape(share, view))


def _average_integers(
    b: LoweringBuilder,
    x: Tensor,
    axes: Sequence[Axis],
    divisor: int | None,
    *,
    counts_padding: bool,
) -> Tensor:
    """The sum of all shifted copies, divided towards zero by the number of elements in each window."""
    first = x.rank - len(axes)
    before = [*[0] * first, *(axis.padding for axis in axes)]
    after: list[Size] = [*[0] * first, *(axis.after for axis in axes)]
    wide = pad_constant(b, x, before, after)
    total: Tensor | None = None
    for taps in itertools.product(*(range(axis.kernel) for axis in axes)):
        part = wide
        for position, (axis, tap) in enumerate(zip(axes, taps, strict=True), start=first):
            end = tap + (axis.result - 1) * axis.stride + 1
            part = b.slice(part, position, tap, end, axis.stride)
        total = part if total is None else b.op("ADD", total, part)
    number = np.ones((1,) * x.rank, numpy_dtype(x.dtype)) * (divisor or 1)
    for position, axis in enumerate([] if divisor else axes, start=first):
        if not (isinstance(axis.size, int) and isinstance(axis.result, int)):
            raise CannotLowerError("of whole numbers, of a dynamic size")
        count = _count(axis, axis.size, axis.result, counts_padding=counts_padding)
        number = number * count.astype(number.dtype).reshape(
            [-1 if i == position else 1 for i in range(x.rank)]
        )
    return b.op("DIV", wide if total is None else total, b.constant(number))


def _count(axis: Axis, size: int, result: int, *, counts_padding: bool) -> NDArray[np.float64]:
    """How many elements of each window are counted."""
    begin = np.arange(result) * axis.stride - axis.padding
    end = np.minimum(begin + axis.kernel, size + axis.padding)
    if not counts_padding:
        begin, end = np.maximum(begin, 0), np.minimum(end, size)
    return (end - begin).astype(np.float64)


def window_op(b: LoweringBuilder, op: str, image: Tensor, kernel: Ints, stride: Ints) -> Tensor:
    """A pooling of NHWC without padding."""
    return _window_op(b, op, image, kernel, stride)


def _window_op(
    b: LoweringBuilder, op: str, image: Tensor, kernel: Ints, stride: Ints, padding: str = "VALID"
) -> Tensor:
    return b.op(
        op,
        image,
        filter_height=kernel[0],
        filter_width=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        padding=padding,
    )
