"""Tables of vectors, looked up by index."""

from __future__ import annotations

import numpy as np

from edgeconv.dims import Size, maximum
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import count_up
from edgeconv.lowering.families.reduction import p_norm
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
        norms = p_norm(b, weight, norm_type, [1], keep_dims=True)
        limit, one = b.scalar(max_norm, weight.dtype), b.scalar(1, weight.dtype)
        scale = b.op("DIV", limit, b.op("ADD", norms, b.scalar(1e-7, weight.dtype)))
        return b.op("MUL", weight, b.op("SELECT_V2", b.op("GREATER", norms, limit), scale, one))
    table = weight.constant.astype(np.float64)
    norms = np.linalg.norm(table, ord=norm_type, axis=1, keepdims=True)
    scales = np.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    return b.constant((table * scales).astype(weight.constant.dtype))


@lower("aten.embedding_bag.padding_idx")
def embedding_bag_with_padding(
    b: LoweringBuilder,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Tensor | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> list[Tensor | None]:
    """A negative index of the padding counts from the end."""
    padding: Size | None = padding_idx
    if padding_idx is not None and padding_idx < 0:
        padding = weight.shape[0] + padding_idx
    rows = _rows(b, weight, indices, per_sample_weights)
    return _reduced(b, rows, indices, offsets, mode, padding)


@lower("aten.embedding_bag.default", "aten._embedding_bag", "aten._embedding_bag_forward_only")
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
    padding_idx: int = -1,
) -> list[Tensor | None]:
    """A negative index of the padding says that there is none."""
    rows = _rows(b, weight, indices, per_sample_weights)
    return _reduced(b, rows, indices, offsets, mode, padding_idx if padding_idx >= 0 else None)


def _rows(b: LoweringBuilder, weight: Tensor, indices: Tensor, factors: Tensor | None) -> Tensor:
    rows = b.op("GATHER", weight, indices)
    return rows if factors is None else b.op("MUL", rows, b.reshape(factors, (*indices.shape, 1)))


def _reduced(
    b: LoweringBuilder,
    rows: Tensor,
    indices: Tensor,
    offsets: Tensor,
    mode: int,
    padding: Size | None,
) -> list[Tensor | None]:
    """The sum, mean or maximum of the rows in each bag, but for padding; the other results serve training."""
    b.results = b.results[:1]
    bag_size = _even_bag_size(b, indices, offsets)
    if bag_size is None or padding is not None:
        bags = _bag_of_each(b, rows, offsets)
        if padding is not None:  # beyond the last bag, where nothing is read
            is_padding = b.op("EQUAL", indices, b.like(padding, indices.dtype))
            where = b.reshape(is_padding, bags.shape)
            bags = b.op("SELECT_V2", where, b.like(_bag_count(b, offsets), DType.INT32), bags)
        return [_reduce_bags(b, rows, bags, offsets, mode), None, None, None]
    bags = b.reshape(rows, (b.shape[0], bag_size, rows.shape[1]))
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


def _bag_of_each(b: LoweringBuilder, rows: Tensor, offsets: Tensor) -> Tensor:
    """The bag that has begun last when a row comes, as a column."""
    position = b.reshape(count_up(b, rows.shape[0]), (rows.shape[0], 1))
    begun = b.op("GREATER_EQUAL", position, b.cast(offsets, DType.INT32))
    bag = b.reduce("SUM", b.cast(begun, DType.INT32), [1], keep_dims=True)
    return b.op("SUB", bag, b.scalar(1, DType.INT32))


def _bag_count(b: LoweringBuilder, offsets: Tensor) -> Size:
    """Bags that begin, and one behind them all."""
    return maximum(offsets.shape[0], b.shape[0])


def _reduce_bags(
    b: LoweringBuilder, rows: Tensor, bags: Tensor, offsets: Tensor, mode: int
) -> Tensor:
    """A bag that holds nothing is zero."""
    size = _bag_count(b, offsets) + 1
    ones = b.op("FILL", b.scalar(1, rows.dtype), shape=(rows.shape[0],))
    counts = b.op("SCATTER_ND", bags, ones, shape=(size,))
    column = b.reshape(counts, (size, 1))
    if mode == _MAX:
        places = b.reshape(bags, (rows.shape[0],))
        largest = b.op("UNSORTED_SEGMENT_MAX", rows, places, count=(size,))
        is_filled = b.op("GREATER", column, b.scalar(0, rows.dtype))
        total = b.op("SELECT_V2", is_filled, largest, b.scalar(0, rows.dtype))
    else:
        total = b.op("SCATTER_ND", bags, rows, shape=(size, rows.shape[1]))
    if mode == _MEAN:
        total = b.op("DIV", total, b.op("MAXIMUM", column, b.scalar(1, rows.dtype)))
    return b.slice(total, 0, 0, b.shape[0])
