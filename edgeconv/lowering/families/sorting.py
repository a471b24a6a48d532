"""Operators that put elements in order, or find a place in an order."""

from __future__ import annotations

import math

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import count_up, gather_along
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@lower("aten.topk")
def topk(
    b: LoweringBuilder,
    x: Tensor,
    k: Size,
    dim: int = -1,
    largest: bool = True,
    is_sorted: bool = True,
) -> list[Tensor]:
    return _ordered(b, x, k, dim, is_descending=largest)


@lower("aten.sort.default")
def sort(b: LoweringBuilder, x: Tensor, dim: int = -1, descending: bool = False) -> list[Tensor]:
    return _ordered(b, x, _size(x, dim), dim, is_descending=descending)


@lower("aten.sort.stable")
def sort_stable(
    b: LoweringBuilder,
    x: Tensor,
    *,
    stable: bool | None = None,
    dim: int = -1,
    descending: bool = False,
) -> list[Tensor]:
    """TOPK_V2 takes the first of equal elements first, so that every sort is stable."""
    return _ordered(b, x, _size(x, dim), dim, is_descending=descending)


@lower("aten.argsort.default")
def argsort(b: LoweringBuilder, x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    return _ordered(b, x, _size(x, dim), dim, is_descending=descending)[1]


@lower("aten.argsort.stable")
def argsort_stable(
    b: LoweringBuilder, x: Tensor, *, stable: bool, dim: int = -1, descending: bool = False
) -> Tensor:
    return _ordered(b, x, _size(x, dim), dim, is_descending=descending)[1]


def _size(x: Tensor, dim: int) -> Size:
    return x.shape[dim] if x.rank else 1


def _ordered(
    b: LoweringBuilder, x: Tensor, k: Size, dim: int, *, is_descending: bool
) -> list[Tensor]:
    """The first k elements in order along an axis, and where they were."""
    if x.rank == 0:
        return [x, b.scalar(0, DType.INT64)]
    axis = dim % x.rank
    to_last = [i for i in range(x.rank) if i != axis] + [axis]
    back = [to_last.index(i) for i in range(x.rank)]
    # Unsigned numbers and bools have no negative, which the ascending order needs.
    wide = x if x.dtype.is_floating else b.cast(x, _signed(x.dtype))
    ranked = b.transpose(wide, to_last)
    node = b.node("TOPK_V2", [ranked if is_descending else _mirrored(b, ranked)], k=(k,))
    values, indices = node.outputs
    values = values if is_descending else _mirrored(b, values)
    places = b.transpose(b.cast(indices, DType.INT64), back)
    return [b.cast(b.transpose(values, back), x.dtype), places]


def _mirrored(b: LoweringBuilder, x: Tensor) -> Tensor:
    """In the opposite order; of integers -1 - x, since the smallest has no negative."""
    if x.dtype.is_floating:
        return b.op("NEG", x)
    return b.op("SUB", b.scalar(-1, x.dtype), x)


def _signed(dtype: DType) -> DType:
    return DType.INT64 if dtype in (DType.INT64, DType.UINT32) else DType.INT32


@lower("aten.kthvalue")
def kthvalue(
    b: LoweringBuilder, x: Tensor, k: Size, dim: int = -1, keepdim: bool = False
) -> list[Tensor]:
    return _nth(b, x, k, dim)


@lower("aten.median.dim")
def median_dim(b: LoweringBuilder, x: Tensor, dim: int, keepdim: bool = False) -> list[Tensor]:
    """The lower one of two middle elements."""
    return _nth(b, x, (_size(x, dim) + 1) // 2, dim)


@lower("aten.median.default")
def median(b: LoweringBuilder, x: Tensor) -> Tensor:
    count = product(x.shape)
    flat = b.reshape(x, (count,))
    smallest = _ordered(b, flat, (count + 1) // 2, 0, is_descending=False)[0]
    return b.reshape(b.slice(smallest, 0, (count + 1) // 2 - 1, (count + 1) // 2), ())


@lower("aten.nanmedian.default")
def nanmedian(b: LoweringBuilder, x: Tensor) -> Tensor:
    return _nanmedian(b, b.reshape(x, (product(x.shape),)), 0)[0]


@lower("aten.nanmedian.dim")
def nanmedian_dim(b: LoweringBuilder, x: Tensor, dim: int, keepdim: bool = False) -> list[Tensor]:
    return _nanmedian(b, b.vector(x), dim)


@lower("aten.mode")
def mode(b: LoweringBuilder, x: Tensor, dim: int = -1, keepdim: bool = False) -> list[Tensor]:
    """The most frequent element, the smallest of several, and where it is last: every element against every other."""
    wide = b.vector(x)
    axis = dim % wide.rank
    order = [i for i in range(wide.rank) if i != axis] + [axis]
    last = b.transpose(wide, order)
    rows, columns = (
        b.reshape(last, (*last.shape[:-1], *pair))
        for pair in ((last.shape[-1], 1), (1, last.shape[-1]))
    )
    same = b.cast(b.op("EQUAL", rows, columns), DType.INT32)
    counts = b.reduce("SUM", same, [-1], keep_dims=False)
    most = b.reduce("REDUCE_MAX", counts, [-1], keep_dims=True)
    place = _last_place_of_smallest(b, last, b.op("EQUAL", counts, most))
    back = [order.index(i) for i in range(wide.rank)]
    places = b.transpose(place, back)
    found = [gather_along(b, wide, axis, places), b.cast(places, DType.INT64)]
    return [b.reshape(t, shape) for t, (_, shape) in zip(found, b.results, strict=True)]


def _last_place_of_smallest(b: LoweringBuilder, x: Tensor, is_candidate: Tensor) -> Tensor:
    """Along the last axis, kept with one element."""
    numbers = x if x.dtype != DType.BOOL else b.cast(x, DType.INT32)
    highest = b.reduce("REDUCE_MAX", numbers, [-1], keep_dims=True)
    smallest = b.reduce(
        "REDUCE_MIN", b.op("SELECT_V2", is_candidate, numbers, highest), [-1], keep_dims=True
    )
    is_it = b.cast(b.op("EQUAL", numbers, smallest), DType.INT32)
    size = x.shape[-1]
    counted = b.op("MUL", is_it, b.op("ADD", count_up(b, size), b.scalar(1, DType.INT32)))
    return b.op(
        "SUB", b.reduce("REDUCE_MAX", counted, [-1], keep_dims=True), b.scalar(1, DType.INT32)
    )


def _nanmedian(b: LoweringBuilder, x: Tensor, dim: int) -> list[Tensor]:
    """NaN counts as infinity, so that it comes last, and as no element; of nothing but NaN the first is taken."""
    is_number = b.op("EQUAL", x, x)
    infinity = b.scalar(math.inf if x.dtype.is_floating else 0, x.dtype)
    known = b.op("SELECT_V2", is_number, x, infinity)
    places = _ordered(b, known, _size(x, dim), dim, is_descending=False)[1]
    count = b.reduce("SUM", b.cast(is_number, DType.INT64), [dim], keep_dims=True)
    rank = b.op("SUB", count, b.scalar(1, DType.INT64))
    middle = b.op("FLOOR_DIV", b.cast(rank, DType.INT32), b.scalar(2, DType.INT32))
    place = gather_along(b, places, dim, b.op("MAXIMUM", middle, b.scalar(0, DType.INT32)))
    found = [gather_along(b, x, dim, place), place]
    return [b.reshape(t, shape) for t, (_, shape) in zip(found, b.results, strict=False)]


def _nth(b: LoweringBuilder, x: Tensor, k: Size, dim: int) -> list[Tensor]:
    """The k-th smallest element along an axis, and where it is."""
    smallest = _ordered(b, x, k, dim, is_descending=False)
    if x.rank == 0:
        return smallest
    last = [b.slice(t, dim % x.rank, k - 1, k) for t in smallest]
    return [b.reshape(t, shape) for t, (_, shape) in zip(last, b.results, strict=True)]


@lower("aten.searchsorted")
def searchsorted(
    b: LoweringBuilder,
    sequence: Tensor,
    values: Tensor | float,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many elements of the sequence come before each value."""
    if sorter is not None:
        sequence = gather_along(b, sequence, -1, sorter)
    if not isinstance(values, Tensor):
        is_fraction = isinstance(values, float) and not sequence.dtype.is_floating
        values = b.scalar(values, DType.FLOAT32 if is_fraction else sequence.dtype)
    return _count_before(b, sequence, values, is_right=right or side == "right")


@lower("aten.bucketize.Tensor")
def bucketize(
    b: LoweringBuilder,
    values: Tensor,
    boundaries: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
) -> Tensor:
    return _count_before(b, boundaries, values, is_right=right)


def _count_before(
    b: LoweringBuilder, sequence: Tensor, values: Tensor, *, is_right: bool
) -> Tensor:
    """Each value beside the whole sequence: [..., values, 1] against [..., 1, sequence]."""
    if sequence.rank > 1:
        sequence = b.reshape(sequence, (*sequence.shape[:-1], 1, sequence.shape[-1]))
    column = b.reshape(values, (*values.shape, 1))
    op = "GREATER_EQUAL" if is_right else "GREATER"
    before = b.cast(b.op(op, column, b.cast(sequence, values.dtype)), DType.INT32)
    return b.cast(b.reduce("SUM", before, [-1], keep_dims=False), b.dtype)
