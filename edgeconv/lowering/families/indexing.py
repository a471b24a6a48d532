"""Reading elements at indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.graph.ops.spec import broadcast_shapes
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@lower("aten.embedding")
def embedding(b: LoweringBuilder, weight: Tensor, indices: Tensor, *_: object) -> Tensor:
    return b.op("GATHER", weight, indices)


@lower("aten.index_select")
def index_select(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor) -> Tensor:
    return b.op("GATHER", x, index, axis=dim % x.rank)


@lower("aten.index.Tensor")
def index(b: LoweringBuilder, x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """NumPy's advanced indexing with integer tensors: they move together, the rest stays."""
    axes = [axis for axis, item in enumerate(indices) if item is not None]
    chosen = [item for item in indices if item is not None]
    if any(not item.dtype.is_integer for item in chosen):
        raise CannotLowerError("indexing with a mask: the size of the result depends on the data")
    if len(chosen) == 1:
        return b.op("GATHER", x, _count_from_front(b, chosen[0], x, axes[0]), axis=axes[0])
    rest = [axis for axis in range(x.rank) if axis not in axes]
    common = broadcast_shapes(*(item.shape for item in chosen))
    columns = [
        b.broadcast(b.cast(_count_from_front(b, item, x, axis), DType.INT32), common)
        for item, axis in zip(chosen, axes, strict=True)
    ]
    coordinates = b.node("PACK", columns, axis=len(common)).output
    found = b.op("GATHER_ND", b.transpose(x, axes + rest), coordinates)
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    if not adjacent or axes[0] == 0:
        return found
    taken = len(common)
    order = [taken + i for i in range(axes[0])] + list(range(taken))
    return b.transpose(found, [*order, *range(taken + axes[0], found.rank)])


def _count_from_front(b: LoweringBuilder, item: Tensor, x: Tensor, axis: int) -> Tensor:
    """Indices as counted from the front; negative ones count from the end."""
    if item.constant is not None and int(item.constant.min(initial=0)) >= 0:
        return item
    size = b.like(x.shape[axis], item.dtype)
    is_negative = b.op("LESS", item, b.scalar(0, item.dtype))
    return b.op("SELECT_V2", is_negative, b.op("ADD", item, size), item)


@lower("aten.gather", "aten.take_along_dim")
def gather(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, **_: object) -> Tensor:
    """Element i of the result is x at index[i] along `dim`, and at i along the other axes."""
    axis = dim % x.rank
    shape = index.shape
    columns = []
    for other in range(x.rank):
        if other == axis:
            columns.append(b.cast(index, DType.INT32))
            continue
        view = [1] * x.rank
        size = shape[other]
        if not isinstance(size, int):
            counting = b.op("RANGE", start=(0,), limit=(size,), delta=(1,), dtype="int32")
            column = b.reshape(counting, (*view[:other], size, *view[other + 1 :]))
        else:
            view[other] = size
            column = b.constant(np.arange(size, dtype=np.int32).reshape(view))
        columns.append(b.broadcast(column, shape))
    return b.op("GATHER_ND", x, b.node("PACK", columns, axis=x.rank).output)


@lower("aten.one_hot")
def one_hot(b: LoweringBuilder, x: Tensor, num_classes: int) -> Tensor:
    on, off = b.scalar(1, DType.INT64), b.scalar(0, DType.INT64)
    return b.op("ONE_HOT", x, on, off, depth=(num_classes,))
