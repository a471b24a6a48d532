"""Tables of vectors, looked up by index."""

from __future__ import annotations

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import count_up
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_SUM, _MEAN, _MAX = range(3)


@lower("aten.embedding")
def embedding(b: LoweringBuilder, weight: Tensor, indices: Tensor, *_: object) -> Tensor:
    return b.op("GATHER", weight, indices)


@lower("aten.embedding_renorm")
def embedding_renorm(
    b: LoweringBuilder, weight: Tensor, indices: Tensor, max_norm: float, norm_type: float
) -> Tensor:
    """PyTorch shortens the rows that are looked up; nothing else is read, so here all are."""
    if weight.constant is None:
        raise CannotLowerError("of a computed table")
    table = weight.constant.astype(np.float64)
    norms = np.linalg.norm(table, ord=norm_type, axis=1, keepdims=True)
    scales = np.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    return b.constant((table * scales).astype(weight.constant.dtype))


@lower("aten.embedding_bag", "aten._embedding_bag", "aten._embedding_bag_forward_only")
def embedding_bag(
    b: LoweringBuilder,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> list[Tensor | None]:
    """The sum, mean or maximum of the rows in each bag; the other results serve training."""
    if padding_idx is not None and padding_idx >= 0:
        raise CannotLowerError("with a padding index")
    rows = b.op("GATHER", weight, indices)
    if per_sample_weights is not None:
        rows = b.op("MUL", rows, b.reshape(per_sample_weights, (*indices.shape, 1)))
    b.results = b.results[:1]
    bag_size = _even_bag_size(b, indices, offsets)
    if bag_size is None:
        return [_sum_bags(b, rows, offsets, mode), None, None, None]
    bags = b.reshape(rows, (b.shape[0], bag_size, weight.shape[1]))
    op = {_SUM: "SUM", _MEAN: "MEAN", _MAX: "REDUCE_MAX"}[mode]
    return [b.reduce(op, bags, [1], keep_dims=False), None, None, None]


def _even_bag_size(b: LoweringBuilder, indices: Tensor, offsets: Tensor) -> int | None:
    """The number of indices in each bag, where all bags are known to have as many.

    So they are where the offsets are known, and where the indices were a matrix, whose rows begin at 0, k, 2k, ...
    """
    count = indices.shape[0]
    if offsets.constant is not None and isinstance(count, int):
        sizes = np.diff(np.append(np.asarray(offsets.constant, np.int64), count))
        return int(sizes[0]) if sizes.size and sizes[0] > 0 and (sizes == sizes[0]).all() else None
    producers = b.graph.producers()
    node = producers.get(offsets)
    if node is not None and node.op == "CAST":
        node = producers.get(node.input(0))
    if node is None or node.op != "RANGE":
        return None
    (start,), (limit,), (step,) = (node.sizes(name) for name in ("start", "limit", "delta"))
    return step if isinstance(step, int) and start == 0 and limit == count else None


def _sum_bags(b: LoweringBuilder, rows: Tensor, offsets: Tensor, mode: int) -> Tensor:
    """Each row is added to the bag that has begun last; a bag that holds nothing is zero."""
    if mode == _MAX:
        raise CannotLowerError("with the maximum over bags of different sizes")
    position = b.reshape(count_up(b, rows.shape[0]), (rows.shape[0], 1))
    begun = b.op("GREATER_EQUAL", position, b.cast(offsets, DType.INT32))
    bag = b.reduce("SUM", b.cast(begun, DType.INT32), [1], keep_dims=True)
    places = b.op("SUB", bag, b.scalar(1, DType.INT32))
    total = b.op("SCATTER_ND", places, rows, shape=b.shape)
    if mode == _SUM:
        return total
    ones = b.op("FILL", b.scalar(1, rows.dtype), shape=(rows.shape[0],))
    counts = b.op("SCATTER_ND", places, ones, shape=(b.shape[0],))
    divisor = b.op("MAXIMUM", counts, b.scalar(1, rows.dtype))
    return b.op("DIV", total, b.reshape(divisor, (b.shape[0], 1)))
