"""Combining what is written at one place: sums, means, products and extremes over groups of elements.

Sums are scattered. Other results are made by TFLite's segment operators: each place of the result is a segment.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import coordinates_along
from edgeconv.lowering.families.scatter import (
    linear_places,
    scatter_along,
    updates_of,
)
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

# The operator of a segment, and that of two tensors.
_COMBINE: Mapping[str, tuple[str, str]] = {
    "amax": ("UNSORTED_SEGMENT_MAX", "MAXIMUM"),
    "amin": ("UNSORTED_SEGMENT_MIN", "MINIMUM"),
    "prod": ("UNSORTED_SEGMENT_PROD", "MUL"),
}


@lower("aten.scatter.reduce", "aten.scatter.value_reduce")
def scatter_with(
    b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, source: Tensor | float, *, reduce: str
) -> Tensor:
    if reduce == "add":
        return scatter_along(b, x, dim, index, source, adds=True)
    return _combine(b, x, dim, index, source, "prod", include_self=True)


@lower("aten.index_reduce")
def index_reduce(
    b: LoweringBuilder,
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Whole slices along an axis: the index is the same for all of a slice."""
    axis = dim % max(x.rank, 1)
    shape = [-1 if i == axis else 1 for i in range(source.rank)]
    column = b.reshape(index, [product(index.shape) if size == -1 else 1 for size in shape])
    wide = b.broadcast(column, source.shape) if source.rank else index
    return _combine(b, x, dim, wide, source, reduce, include_self=include_self)


def _combine(
    b: LoweringBuilder,
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor | float,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """`x` is one more element of each group, or what stands where a group has none."""
    given = x.dtype
    if given == DType.BOOL:
        x = b.cast(x, DType.INT32)
        source = b.cast(source, DType.INT32) if isinstance(source, Tensor) else source
    flat, source = b.vector(x), b.vector(source) if isinstance(source, Tensor) else source
    index = b.vector(index)
    if reduce in _COMBINE:
        result = _by_segments(b, flat, dim, index, source, reduce, include_self=include_self)
    else:
        result = _by_sums(b, flat, dim, index, source, reduce, include_self=include_self)
    if given == DType.BOOL:
        result = b.op("NOT_EQUAL", result, b.scalar(0, result.dtype))
    return b.reshape(result, b.shape)


scatter_reduce = lower("aten.scatter_reduce.two")(_combine)


def _counts(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor) -> Tensor:
    """How many elements are written at each place, as int32."""
    zeros = b.op("FILL", b.scalar(0, DType.INT32), shape=x.shape)
    return scatter_along(b, zeros, dim, index, 1, adds=True)


def _by_segments(
    b: LoweringBuilder,
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor | float,
    reduce: str,
    *,
    include_self: bool,
) -> Tensor:
    segment, combine = _COMBINE[reduce]
    updates = b.broadcast(updates_of(b, index, source, x.dtype), index.shape)
    count, size = product(index.shape), product(x.shape)
    coordinates = coordinates_along(b, index, dim % x.rank)
    places = linear_places(b, b.reshape(coordinates, (count, x.rank)), x.shape)
    reduced = b.op(segment, b.reshape(updates, (count,)), places, count=(size,))
    reduced = b.reshape(reduced, x.shape)
    other = b.op(combine, x, reduced) if include_self else reduced
    is_hit = b.op("GREATER", _counts(b, x, dim, index), b.scalar(0, DType.INT32))
    return b.op("SELECT_V2", is_hit, other, x)


def _by_sums(
    b: LoweringBuilder,
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor | float,
    reduce: str,
    *,
    include_self: bool,
) -> Tensor:
    """Sums, and means, whose divisor is a number of elements; of whole numbers it rounds down."""
    zeros = b.op("FILL", b.scalar(0, x.dtype), shape=x.shape)
    total = scatter_along(b, x if include_self else zeros, dim, index, source, adds=True)
    hits = _counts(b, x, dim, index)
    if reduce == "mean":
        one = b.scalar(1, DType.INT32)
        number = b.op("ADD", hits, one) if include_self else b.op("MAXIMUM", hits, one)
        op = "DIV" if x.dtype.is_floating else "FLOOR_DIV"
        total = b.op(op, total, b.cast(number, x.dtype))
    if include_self:
        return total
    return b.op("SELECT_V2", b.op("GREATER", hits, b.scalar(0, DType.INT32)), total, x)
