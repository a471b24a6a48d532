"""Replacing what a view of a tensor shows: a slice, a row, a diagonal, a strided view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import diagonal_places, strided_places
from edgeconv.lowering.families.scatter import put_at
from edgeconv.lowering.families.slicing import slice_bounds
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower


@lower("aten.diagonal_scatter")
def diagonal_scatter(
    b: LoweringBuilder, x: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """The matrix of two axes laid flat, its diagonal replaced."""
    pair = [dim1 % x.rank, dim2 % x.rank]
    order = [axis for axis in range(x.rank) if axis not in pair] + pair
    turned = b.transpose(x, order)
    *rest, rows, columns = turned.shape
    places = diagonal_places(b, rows, columns, offset)
    flat = b.reshape(turned, (*rest, rows * columns))
    written = put_at(b, flat, [*[None] * len(rest), places], b.cast(source, x.dtype))
    back = [order.index(axis) for axis in range(x.rank)]
    return b.transpose(b.reshape(written, turned.shape), back)


@lower("aten.as_strided_scatter")
def as_strided_scatter(
    b: LoweringBuilder,
    x: Tensor,
    source: Tensor,
    size: Sequence[Size],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    places = strided_places(b, size, stride, storage_offset)
    flat = b.reshape(x, (product(x.shape),))
    return b.reshape(put_at(b, flat, [places], b.cast(source, x.dtype)), x.shape)


@lower("aten.slice_scatter")
def slice_scatter(
    b: LoweringBuilder,
    x: Tensor,
    source: Tensor,
    dim: int = 0,
    start: Size | None = None,
    end: Size | None = None,
    step: int = 1,
) -> Tensor:
    axis = dim % x.rank
    begin, stop = slice_bounds(x.shape[axis], start, end)
    if step != 1:
        return _put_every(b, x, b.cast(source, x.dtype), axis, (begin, stop, step))
    shape = (*x.shape[:axis], stop - begin, *x.shape[axis + 1 :])
    middle = b.broadcast(b.cast(source, x.dtype), shape)
    return _between(b, x, middle, axis, begin, stop)


def _put_every(
    b: LoweringBuilder, x: Tensor, source: Tensor, axis: int, where: tuple[Size, Size, int]
) -> Tensor:
    """A known choice from old and new side by side."""
    size, (begin, stop, step) = x.shape[axis], where
    if not (isinstance(size, int) and isinstance(begin, int) and isinstance(stop, int)):
        raise CannotLowerError("with a step along a dynamic axis")
    chosen = np.arange(size, dtype=np.int32)
    written = chosen[begin:stop:step]
    shape = (*x.shape[:axis], len(written), *x.shape[axis + 1 :])
    chosen[begin:stop:step] = size + np.arange(len(written))
    both = b.node("CONCATENATION", [x, b.broadcast(source, shape)], axis=axis).output
    return b.op("GATHER", both, b.constant(chosen), axis=axis)


@lower("aten.select_scatter")
def select_scatter(b: LoweringBuilder, x: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    axis = dim % x.rank
    size = x.shape[axis]
    begin: Size = size + index if index < 0 else index
    row = b.reshape(b.cast(source, x.dtype), (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    return _between(b, x, row, axis, begin, begin + 1)


def _between(
    b: LoweringBuilder, x: Tensor, middle: Tensor, axis: int, begin: Size, stop: Size
) -> Tensor:
    """`x` with a range of an axis replaced."""
    size = x.shape[axis]
    parts = [
        *([b.slice(x, axis, 0, begin)] if begin != 0 else []),
        middle,
        *([b.slice(x, axis, stop, size)] if stop != size else []),
    ]
    return parts[0] if len(parts) == 1 else b.node("CONCATENATION", parts, axis=axis).output


@lower("aten.copy")
def copy(b: LoweringBuilder, x: Tensor, source: Tensor, *_: object) -> Tensor:
    return b.broadcast(b.cast(source, x.dtype), x.shape)
