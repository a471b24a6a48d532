"""Runs of rows, given by their lengths: what each is reduced to, and rows repeated as often as a length says."""

from __future__ import annotations

import math

import numpy as np

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_EMPTY = {"sum": 0.0, "mean": math.nan, "max": -math.inf, "min": math.inf, "prod": 1.0}
_SEGMENT = {
    "max": "UNSORTED_SEGMENT_MAX",
    "min": "UNSORTED_SEGMENT_MIN",
    "prod": "UNSORTED_SEGMENT_PROD",
}
_COMBINE = {"max": "MAXIMUM", "min": "MINIMUM", "prod": "MUL", "sum": "ADD", "mean": "ADD"}


def _static(size: object) -> int:
    if not isinstance(size, int):
        raise CannotLowerError("along a dynamic axis")
    return size


def _run_of_each(b: LoweringBuilder, ends: Tensor, rows: int) -> Tensor:
    """For each row how many runs have ended before it, [..., rows] for ends[..., runs]."""
    column = b.constant(np.arange(rows, dtype=np.int32)[:, None])
    ends = b.reshape(b.cast(ends, DType.INT32), (*ends.shape[:-1], 1, ends.shape[-1]))
    is_past = b.cast(b.op("LESS_EQUAL", ends, column), DType.INT32)
    return b.reduce("SUM", is_past, [-1], keep_dims=False)


@lower("aten.repeat_interleave.Tensor")
def repeat_interleave(
    b: LoweringBuilder, repeats: Tensor, *, output_size: int | None = None
) -> Tensor:
    """Each place as often as it says; how many that is in all is the size of the result."""
    del output_size
    ends = b.op("CUMSUM", b.cast(repeats, DType.INT32), axis=0)
    return b.cast(_run_of_each(b, ends, _static(b.shape[0])), b.dtype)


@lower("aten.segment_reduce")
def segment_reduce(
    b: LoweringBuilder,
    x: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """One row for each run of rows; an empty one gives the initial value, or what leaves others as they are."""
    del unsafe  # a graph cannot raise
    if lengths is not None:
        ends = b.op("CUMSUM", b.cast(lengths, DType.INT32), axis=lengths.rank - 1)
    elif offsets is not None:
        ends = b.slice(offsets, offsets.rank - 1, 1, offsets.shape[-1])
    else:
        raise CannotLowerError("without lengths or offsets")
    if indices is not None or axis != ends.rank - 1:
        raise CannotLowerError("of runs that have no row of lengths each")
    runs = _run_of_each(b, ends, _static(x.shape[axis]))
    return _reduced(b, x, runs, _static(ends.shape[-1]), reduce, initial)


def _reduced(
    b: LoweringBuilder, x: Tensor, runs: Tensor, count: int, reduce: str, initial: float | None
) -> Tensor:
    """All runs, of all places of the axes before, one after the other; what is in none goes to one more for each."""
    outer, rows = _static(product(runs.shape[:-1])), runs.shape[-1]
    first = b.constant(np.arange(outer, dtype=np.int32)[:, None] * (count + 1))
    places = b.reshape(b.op("ADD", b.reshape(runs, (outer, rows)), first), (outer * rows,))
    inner = x.shape[runs.rank :]
    flat = b.reshape(x, (outer * rows, *inner))
    total = outer * (count + 1)
    sizes = _summed(b, b.broadcast(b.scalar(1, x.dtype), (outer * rows,)), places, total)
    sizes = b.reshape(sizes, (total, *[1] * len(inner)))
    if reduce in _SEGMENT:
        value = b.op(_SEGMENT[reduce], flat, places, count=(total,))
    else:
        value = _summed(b, flat, places, total)
    if initial is not None:
        value = b.op(_COMBINE[reduce], value, b.scalar(initial, x.dtype))
    if reduce == "mean":
        value = b.op("DIV", value, b.op("MAXIMUM", sizes, b.scalar(1, x.dtype)))
    is_empty = b.op("EQUAL", sizes, b.scalar(0, x.dtype))
    nothing = b.scalar(_EMPTY[reduce] if initial is None else initial, x.dtype)
    value = b.op("SELECT_V2", is_empty, nothing, value)
    parts = b.reshape(value, (outer, count + 1, *inner))
    return b.reshape(b.slice(parts, 1, 0, count), b.shape)


def _summed(b: LoweringBuilder, x: Tensor, places: Tensor, total: int) -> Tensor:
    column = b.reshape(places, (*places.shape, 1))
    return b.op("SCATTER_ND", column, x, shape=(total, *x.shape[1:]))


@lower("aten.resize_", "aten.resize_as_")
def resize(b: LoweringBuilder, x: Tensor, *_: object, **__: object) -> Tensor:
    """The elements in the order of memory, as many as the new shape holds."""
    before, after = (_static(product(shape)) for shape in (x.shape, b.shape))
    if after > before:
        raise CannotLowerError(
            "to more elements than there are: the others are whatever is in memory"
        )
    if not b.is_contiguous:
        raise CannotLowerError("of a tensor whose order in memory is not that of its axes")
    return b.reshape(b.slice(b.reshape(x, (before,)), 0, 0, after), b.shape)
