"""Operators that cut a tensor into parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import DimExpr, Size, maximum, minimum
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import lower

FAR = 2**62  # PyTorch writes "to the end" as the largest int64


@lower("aten.slice.Tensor", "aten.slice_copy")
def slice_tensor(
    b: LoweringBuilder,
    x: Tensor,
    dim: int = 0,
    start: Size | None = None,
    end: Size | None = None,
    step: int = 1,
) -> Tensor:
    axis = dim % x.rank
    return b.slice(x, axis, *slice_bounds(x.shape[axis], start, end), step)


def slice_bounds(size: Size, start: Size | None, end: Size | None) -> tuple[Size, Size]:
    """Where a slice of an axis begins and ends, which is not before it begins."""
    begin = bound(0 if start is None else start, size)
    return begin, maximum_of(begin, bound(FAR if end is None else end, size))


def bound(position: Size, size: Size) -> Size:
    """A slice's bound counted from the front and limited to the axis, as Python does."""
    if isinstance(position, int) and position >= FAR:
        return size
    if isinstance(position, int) and isinstance(size, int):
        return max(0, min(position + size if position < 0 else position, size))
    if isinstance(position, int) and position < 0:
        return maximum(size + position, 0)
    if position in (0, size):
        return position
    if isinstance(position, DimExpr) and isinstance(size - position, int):
        return position if int(str(size - position)) >= 0 else size
    return minimum(position, size)


def maximum_of(begin: Size, end: Size) -> Size:
    """The end of a range that does not end before it begins."""
    if isinstance(begin, int) and isinstance(end, int):
        return max(begin, end)
    return end


@lower("aten.narrow")
def narrow(b: LoweringBuilder, x: Tensor, dim: int, start: Size, length: Size) -> Tensor:
    axis = dim % x.rank
    begin = bound(start, x.shape[axis])
    return b.slice(x, axis, begin, begin + length)


@lower("aten.select.int")
def select(b: LoweringBuilder, x: Tensor, dim: int, index: Size) -> Tensor:
    axis = dim % x.rank
    begin = x.shape[axis] + index if isinstance(index, int) and index < 0 else index
    return b.reshape(b.slice(x, axis, begin, begin + 1), b.shape)


@lower(
    "aten.split.Tensor", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split", "aten.split"
)
def split(b: LoweringBuilder, x: Tensor, _: object, dim: int = 0) -> list[Tensor]:
    axis = dim % x.rank
    sizes = tuple(shape[axis] for _, shape in b.results)
    return split_axis(b, x, axis, sizes)


def split_axis(b: LoweringBuilder, x: Tensor, axis: int, sizes: Sequence[Size]) -> list[Tensor]:
    """Consecutive parts of an axis; one operator when that takes fewer."""
    if len(sizes) == 1:
        return [x]
    return b.node("SPLIT_V", [x], axis=axis, sizes=tuple(sizes)).outputs


@lower("aten.unbind.int")
def unbind(b: LoweringBuilder, x: Tensor, dim: int = 0) -> list[Tensor]:
    axis = dim % x.rank
    parts = split_axis(b, x, axis, [1] * len(b.results))
    return [b.reshape(p, shape) for p, (_, shape) in zip(parts, b.results, strict=True)]


@lower("aten.unfold")
def unfold(b: LoweringBuilder, x: Tensor, dim: int, size: int, step: int) -> Tensor:
    """Windows along an axis: their elements become a new last axis."""
    if x.rank == 0:
        return b.reshape(x, b.shape)
    axis = dim % x.rank
    count = b.shape[axis]
    if isinstance(count, int):
        starts = b.constant(np.arange(count, dtype=np.int32)[:, None] * step)
    else:
        counted = b.op("RANGE", start=(0,), limit=(count * step,), delta=(step,), dtype="int32")
        counted.shape = (count,)
        starts = b.reshape(counted, (count, 1))
    windows = b.op("GATHER", x, _plus(b, starts, np.arange(size, dtype=np.int32)), axis=axis)
    order = [i for i in range(windows.rank) if i != axis + 1] + [axis + 1]
    return b.transpose(windows, order)


def _plus(b: LoweringBuilder, starts: Tensor, offsets: NDArray[np.int32]) -> Tensor:
    if starts.constant is not None:
        return b.constant(np.asarray(starts.constant, np.int32) + offsets)
    return b.op("ADD", starts, b.constant(offsets))
