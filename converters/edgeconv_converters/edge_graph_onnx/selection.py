"""Operators that read or write elements at indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeconv.dims import is_static
from edgeconv.graph import GraphError
from edgeconv.graph.arrays import lowest
from edgeconv.graph.model import Constant
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.call import Call, Translation

__all__ = ["TRANSLATIONS"]


def _gather(call: Call) -> str:
    axis, batch = (
        call.node.integer("axis") % call.node.input(0).rank,
        call.node.integer("batch_dims"),
    )
    if not batch:
        return call.op("Gather", call.input(0), call.input(1), axis=axis)
    return _gather_in_batches(call, axis, batch)


def _gather_in_batches(call: Call, axis: int, batch: int) -> str:
    """GatherND picks along the axis behind the batch: the axis is brought there, and what it passed back."""
    rank, index_rank = call.node.input(0).rank, call.node.input(1).rank
    passed = list(range(batch, axis))
    x = call.input(0)
    if passed:
        x = call.op("Transpose", x, perm=[*range(batch), axis, *passed, *range(axis + 1, rank)])
    places = call.op(
        "Unsqueeze", call.integers_to(DType.INT64, 1), call.emitter.integers([index_rank])
    )
    found = call.op("GatherND", x, places, batch_dims=batch)
    if not passed:
        return found
    picked = list(range(batch, index_rank))
    moved = [index_rank + position for position in range(len(passed))]
    rest = range(index_rank + len(passed), call.node.output.rank)
    return call.op("Transpose", found, perm=[*range(batch), *moved, *picked, *rest])


def _gather_nd(call: Call) -> str:
    return call.op("GatherND", call.input(0), call.integers_to(DType.INT64, 1))


def _gather_elements(call: Call) -> str:
    axis = call.node.integer("axis")
    return call.op("GatherElements", call.input(0), call.input(1), axis=axis)


def _scatter_nd(call: Call) -> str:
    dtype = call.node.output.dtype
    zeros = call.op("Expand", call.emitter.number(0, dtype), call.vector("shape"))
    places = call.integers_to(DType.INT64, 0)
    return call.op("ScatterND", zeros, places, call.input(1), reduction="add")


def _segments(reduction: str) -> Translation:
    """A segment without rows is the lowest number, the highest number, or 1."""

    def emit(call: Call) -> str:
        x = call.node.input(0)
        start = {"max": lowest(x.dtype), "min": _highest(x.dtype), "mul": 1}[reduction]
        (count,) = call.node.sizes("count")
        shape = call.sizes.vector((count, *x.shape[1:]))
        empty = call.op("Expand", call.emitter.number(start, x.dtype), shape)
        rows = call.op("Unsqueeze", call.integers_to(DType.INT64, 1), call.emitter.integers([1]))
        return call.op("ScatterND", empty, rows, call.input(0), reduction=reduction)

    return emit


def _highest(dtype: DType) -> float:
    return int(np.iinfo(dtype.value).max) if dtype.is_integer else -lowest(dtype)


def _one_hot(call: Call) -> str:
    """ONNX Runtime's OneHot takes few dtypes: a comparison with all indices takes all."""
    (depth,) = call.node.sizes("depth")
    places = [call.emitter.integer(0), call.sizes.scalar(depth), call.emitter.integer(1)]
    rank = call.node.input(0).rank
    single = call.op("Unsqueeze", call.integers_to(DType.INT64, 0), call.emitter.integers([rank]))
    is_there = call.op("Equal", single, call.op("Range", *places))
    return call.op("Where", is_there, call.input(1), call.input(2))


def _update_slice(call: Call) -> str:
    """Scatters the update; the axes at the end that it covers whole are scattered as one."""
    x, update = call.node.input(0), call.node.input(1)
    partial = [i for i, (a, b) in enumerate(zip(x.shape, update.shape, strict=True)) if a != b]
    count = partial[-1] + 1 if partial else 1
    extent = update.shape[:count]
    if not is_static(extent):
        raise GraphError(f"'{call.node.op}' with an update of a dynamic size")
    start = call.integers_to(DType.INT64, 2)
    if count < x.rank:
        ends = (call.emitter.integers([0]), call.emitter.integers([count]))
        start = call.op("Slice", start, *ends)
    places = call.emitter.constants.add(_grid(extent), DType.INT64, "constant")
    return call.op("ScatterND", call.input(0), call.op("Add", places, start), call.input(1))


def _grid(extent: Sequence[object]) -> Constant:
    """The place of every element of a shape, [..., axes]."""
    shape = [int(str(size)) for size in extent]
    return np.moveaxis(np.indices(shape, dtype=np.int64), 0, -1)


TRANSLATIONS: Mapping[str, Translation] = {
    "DYNAMIC_UPDATE_SLICE": _update_slice,
    "GATHER": _gather,
    "GATHER_ELEMENTS": _gather_elements,
    "GATHER_ND": _gather_nd,
    "ONE_HOT": _one_hot,
    "SCATTER_ND": _scatter_nd,
    "UNSORTED_SEGMENT_MAX": _segments("max"),
    "UNSORTED_SEGMENT_MIN": _segments("min"),
    "UNSORTED_SEGMENT_PROD": _segments("mul"),
}
