"""How many elements fall between edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.creation import even_steps
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@lower("aten.histc")
def histc(
    b: LoweringBuilder,
    x: Tensor,
    bins: int = 100,
    min: float = 0,  # noqa: A002 - as PyTorch declares it
    max: float = 0,  # noqa: A002
) -> Tensor:
    """Bins of one width; without a range it is that of the elements."""
    flat = b.reshape(b.cast(x, b.dtype), (product(x.shape),))
    low, high = _range(b, flat, (min, max) if min != max else None)
    width = b.op("SUB", high, low)
    share = b.op("DIV", b.op("MUL", b.op("SUB", flat, low), b.scalar(bins, b.dtype)), width)
    place = b.op(
        "MINIMUM", b.cast(b.op("FLOOR", share), DType.INT32), b.scalar(bins - 1, DType.INT32)
    )
    return _counted(b, flat, place, _is_within(b, flat, low, high), bins, None)


def _range(b: LoweringBuilder, x: Tensor, given: Sequence[float] | None) -> tuple[Tensor, Tensor]:
    """The first and the last edge; half a unit to each side where they would be the same."""
    if given is not None:
        low, high = (float(value) for value in given)
        apart = 0.5 if low == high else 0.0
        return b.scalar(low - apart, x.dtype), b.scalar(high + apart, x.dtype)
    if product(x.shape) == 0:
        return b.scalar(0, x.dtype), b.scalar(1, x.dtype)
    low_, high_ = (b.reduce(op, x, [0], keep_dims=False) for op in ("REDUCE_MIN", "REDUCE_MAX"))
    is_one = b.op("EQUAL", low_, high_)
    half = b.op("SELECT_V2", is_one, b.scalar(0.5, x.dtype), b.scalar(0, x.dtype))
    return b.op("SUB", low_, half), b.op("ADD", high_, half)


def _is_within(b: LoweringBuilder, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return b.op("LOGICAL_AND", b.op("GREATER_EQUAL", x, low), b.op("LESS_EQUAL", x, high))


def _counted(
    b: LoweringBuilder,
    x: Tensor,
    place: Tensor,
    is_within: Tensor,
    bins: int,
    weight: Tensor | None,
) -> Tensor:
    """What falls into each bin, added up; the rest goes into one more bin, which is cut off."""
    place = b.op("SELECT_V2", is_within, place, b.scalar(bins, DType.INT32))
    one = b.broadcast(b.scalar(1, x.dtype), x.shape) if weight is None else weight
    all_bins = b.op("SCATTER_ND", b.reshape(place, (*x.shape, 1)), one, shape=(bins + 1,))
    return b.slice(all_bins, 0, 0, bins)


@lower("aten.histogram.bin_ct")
def histogram(
    b: LoweringBuilder,
    x: Tensor,
    bins: int = 100,
    *,
    range: Sequence[float] | None = None,  # noqa: A002 - as PyTorch declares it
    weight: Tensor | None = None,
    density: bool = False,
) -> list[Tensor]:
    flat = b.reshape(x, (product(x.shape),))
    edges = even_steps(b, *_range(b, flat, range), bins + 1)
    return [_histogram(b, flat, edges, _flat_weight(b, x, weight), is_density=density), edges]


def _flat_weight(b: LoweringBuilder, x: Tensor, weight: Tensor | None) -> Tensor | None:
    return None if weight is None else b.reshape(weight, (product(x.shape),))


def _histogram(
    b: LoweringBuilder, x: Tensor, edges: Tensor, weight: Tensor | None, *, is_density: bool
) -> Tensor:
    """The last bin has both its edges, the others the lower one alone."""
    bins = _bins_of(edges)
    place = _place(b, x, edges)
    low, high = b.slice(edges, 0, 0, 1), b.slice(edges, 0, bins, bins + 1)
    counts = _counted(b, x, place, _is_within(b, x, low, high), bins, weight)
    return _as_density(b, counts, [edges]) if is_density else counts


def _bins_of(edges: Tensor) -> int:
    size = edges.shape[0]
    if not isinstance(size, int):
        raise CannotLowerError("of a dynamic number of edges")
    return size - 1


def _place(b: LoweringBuilder, x: Tensor, edges: Tensor) -> Tensor:
    is_past = b.op("GREATER_EQUAL", b.reshape(x, (*x.shape, 1)), edges)
    before = b.reduce("SUM", b.cast(is_past, DType.INT32), [x.rank], keep_dims=False)
    place = b.op("SUB", before, b.scalar(1, DType.INT32))
    return b.op("MINIMUM", place, b.scalar(_bins_of(edges) - 1, DType.INT32))


def _as_density(b: LoweringBuilder, counts: Tensor, edges: Sequence[Tensor]) -> Tensor:
    total = b.reduce("SUM", counts, [], keep_dims=True)
    value = b.op("DIV", counts, total)
    for axis, ends in enumerate(edges):
        bins = _bins_of(ends)
        width = b.op("SUB", b.slice(ends, 0, 1, bins + 1), b.slice(ends, 0, 0, bins))
        shape = [bins if i == axis else 1 for i in range(counts.rank)]
        value = b.op("DIV", value, b.reshape(width, shape))
    return value


@lower("aten.histogram.bins_tensor")
def histogram_of_edges(
    b: LoweringBuilder,
    x: Tensor,
    bins: Tensor,
    *,
    weight: Tensor | None = None,
    density: bool = False,
) -> list[Tensor]:
    flat = b.reshape(x, (product(x.shape),))
    value = _histogram(b, flat, bins, _flat_weight(b, x, weight), is_density=density)
    return [value, b.reshape(bins, b.results[1][1])]


@lower("aten._histogramdd_bin_edges")
def bin_edges(
    b: LoweringBuilder,
    x: Tensor,
    bins: Sequence[int],
    *,
    range: Sequence[float] | None = None,  # noqa: A002 - as PyTorch declares it
    weight: Tensor | None = None,
    density: bool = False,
) -> list[Tensor]:
    del weight, density  # of no matter to edges
    points = _points(b, x)
    given = [None if range is None else range[2 * i : 2 * i + 2] for i, _ in enumerate(bins)]
    return [
        even_steps(b, *_range(b, _coordinate(b, points, i), given[i]), count + 1)
        for i, count in enumerate(bins)
    ]


def _points(b: LoweringBuilder, x: Tensor) -> Tensor:
    """x[..., coordinates] as [points, coordinates]."""
    return b.reshape(x, (product(x.shape[:-1]), x.shape[-1]))


def _coordinate(b: LoweringBuilder, points: Tensor, index: int) -> Tensor:
    return b.reshape(b.slice(points, 1, index, index + 1), (points.shape[0],))


@lower("aten._histogramdd_from_bin_cts")
def histogram_of_points(
    b: LoweringBuilder,
    x: Tensor,
    bins: Sequence[int],
    *,
    range: Sequence[float] | None = None,  # noqa: A002 - as PyTorch declares it
    weight: Tensor | None = None,
    density: bool = False,
) -> Tensor:
    edges = bin_edges.function(b, x, bins, range=range)
    if not isinstance(edges, list):
        raise TypeError("edges are a list")
    return _many(b, x, edges, weight, is_density=density)


@lower("aten._histogramdd_from_bin_tensors")
def histogram_of_points_and_edges(
    b: LoweringBuilder,
    x: Tensor,
    bins: Sequence[Tensor],
    *,
    weight: Tensor | None = None,
    density: bool = False,
) -> Tensor:
    return _many(b, x, bins, weight, is_density=density)


def _many(
    b: LoweringBuilder,
    x: Tensor,
    edges: Sequence[Tensor],
    weight: Tensor | None,
    *,
    is_density: bool,
) -> Tensor:
    """Points of several coordinates: the bins are counted through, the last coordinate fastest."""
    points = _points(b, x)
    counts = [_bins_of(ends) for ends in edges]
    place: Tensor = b.scalar(0, DType.INT32)
    is_within: Tensor | None = None
    for index, (ends, bins) in enumerate(zip(edges, counts, strict=True)):
        values = _coordinate(b, points, index)
        own = _place(b, values, ends)
        place = b.op("ADD", b.op("MUL", place, b.scalar(bins, DType.INT32)), own)
        low, high = b.slice(ends, 0, 0, 1), b.slice(ends, 0, bins, bins + 1)
        inside = _is_within(b, values, low, high)
        is_within = inside if is_within is None else b.op("LOGICAL_AND", is_within, inside)
    if is_within is None:
        raise CannotLowerError("of points without coordinates")
    flat = None if weight is None else b.reshape(weight, (points.shape[0],))
    values = _coordinate(b, points, 0)
    total = int(np.prod(counts))
    made = b.reshape(_counted(b, values, place, is_within, total, flat), counts)
    return _as_density(b, made, edges) if is_density else made
