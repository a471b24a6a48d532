"""Pooling to a given size: bin i of an axis reaches from floor(i n / m) to ceil((i + 1) n / m)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import to_channels_first, to_channels_last
from edgeconv.lowering.families.pooling import window_op
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import Lowering


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """The operators over a window and over an axis."""

    window: str
    reduction: str


_MEAN = _Kind(window="AVERAGE_POOL_2D", reduction="MEAN")
_MAX = _Kind(window="MAX_POOL_2D", reduction="REDUCE_MAX")


def _average(count: int, *names: str) -> Lowering:
    def function(b: LoweringBuilder, x: Tensor, output_size: Sequence[Size]) -> Tensor:
        return _adapt(b, x, count, _MEAN)

    return Lowering(names, function)


def adapt_max(b: LoweringBuilder, x: Tensor, count: int) -> Tensor:
    """The maxima over the bins of the last axes."""
    return _adapt(b, x, count, _MAX)


average_1d = _average(1, "aten.adaptive_avg_pool1d")
average_2d = _average(2, "aten.adaptive_avg_pool2d", "aten._adaptive_avg_pool2d")
average_3d = _average(3, "aten.adaptive_avg_pool3d", "aten._adaptive_avg_pool3d")


def _adapt(b: LoweringBuilder, x: Tensor, count: int, kind: _Kind) -> Tensor:
    axes, sizes = range(x.rank - count, x.rank), b.shape[-count:]
    if sizes == x.shape[-count:]:
        return x
    if set(sizes) == {1}:
        return b.reduce(kind.reduction, x, axes, keep_dims=True)
    windows = [_window(x.shape[axis], size) for axis, size in zip(axes, sizes, strict=True)]
    whole = [window for window in windows if isinstance(window, int)]
    if count == 2 and len(whole) == 2:
        return _by_windows(b, x, kind, whole)
    for axis, size in zip(axes, sizes, strict=True):
        x = _adapt_axis(b, x, axis, size, kind)
    return x


def _window(size: Size, result: Size) -> Size | None:
    """The size of the bins where all have one."""
    return size // result if size % result == 0 else None


def _by_windows(b: LoweringBuilder, x: Tensor, kind: _Kind, window: list[int]) -> Tensor:
    batched = x if x.rank == 4 else b.reshape(x, (1, *x.shape))
    pooled = window_op(b, kind.window, to_channels_last(b, batched), window, window)
    result = to_channels_first(b, pooled)
    return result if x.rank == 4 else b.reshape(result, result.shape[1:])


def _adapt_axis(b: LoweringBuilder, x: Tensor, axis: int, result: Size, kind: _Kind) -> Tensor:
    size = x.shape[axis]
    if size == result:
        return x
    if result == 1:
        return b.reduce(kind.reduction, x, [axis], keep_dims=True)
    window = _window(size, result)
    if window is not None:
        split = b.reshape(x, (*x.shape[:axis], result, window, *x.shape[axis + 1 :]))
        return b.reduce(kind.reduction, split, [axis + 1], keep_dims=False)
    times = _window(result, size)
    if times is not None:  # bins of one element
        wide = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
        single = b.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
        return b.reshape(b.broadcast(single, wide), (*x.shape[:axis], result, *x.shape[axis + 1 :]))
    if not isinstance(result, int):
        raise CannotLowerError("to a dynamic number of uneven bins")
    if isinstance(size, int) and kind is _MEAN:
        return _by_matrix(b, x, axis, _bin_matrix(size, result))
    bins = [b.slice(x, axis, *_bin(size, result, i)) for i in range(result)]
    parts = [b.reduce(kind.reduction, part, [axis], keep_dims=True) for part in bins]
    return b.node("CONCATENATION", parts, axis=axis).output


def _bin(size: Size, result: int, index: int) -> tuple[Size, Size]:
    return size * index // result, -(size * -(index + 1) // result)


def _bin_matrix(size: int, result: int) -> NDArray[np.float64]:
    """Averages over uneven bins, as a matrix."""
    matrix: NDArray[np.float64] = np.zeros((result, size))
    for row in range(result):
        begin, end = row * size // result, -(-(row + 1) * size // result)
        matrix[row, begin:end] = 1 / (end - begin)
    return matrix


def _by_matrix(b: LoweringBuilder, x: Tensor, axis: int, matrix: NDArray[np.float64]) -> Tensor:
    """One axis multiplied by a known matrix."""
    weight = b.constant(matrix.astype(numpy_dtype(x.dtype)))
    perm = [i for i in range(x.rank) if i != axis] + [axis]
    back = [perm.index(i) for i in range(x.rank)]
    product = b.op("FULLY_CONNECTED", b.transpose(x, perm), weight, None)
    return b.transpose(product, back)
