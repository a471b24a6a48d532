"""Scaled dot-product attention."""

from __future__ import annotations

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@lower("aten.scaled_dot_product_attention")
def scaled_dot_product_attention(
    b: LoweringBuilder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T / sqrt(d) + mask) value. Source: Vaswani et al., "Attention Is All You Need"."""
    if enable_gqa:
        key, value = (_repeat_heads(b, tensor, query.shape[-3]) for tensor in (key, value))
    width = query.shape[-1]
    factor = scale if scale is not None else float(int(str(width))) ** -0.5
    scaled = b.op("MUL", query, b.scalar(factor, query.dtype))
    scores = b.op("BATCH_MATMUL", scaled, key, adj_y=True)
    if is_causal:
        attn_mask = causal_mask(b, query.shape[-2], key.shape[-2])
    if attn_mask is not None:
        scores = _apply_mask(b, scores, attn_mask)
    return b.op("BATCH_MATMUL", b.op("SOFTMAX", scores), value)


def _apply_mask(b: LoweringBuilder, scores: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype != DType.BOOL:
        return b.op("ADD", scores, b.cast(mask, scores.dtype))
    # A finite lowest value keeps a row that is masked as a whole free of NaN.
    lowest = b.scalar(float(np.finfo(np.dtype(scores.dtype.value)).min), scores.dtype)
    return b.op("SELECT_V2", mask, scores, lowest)


def causal_mask(b: LoweringBuilder, rows: Size, columns: Size) -> Tensor:
    """True on and below the diagonal."""
    if isinstance(rows, int) and isinstance(columns, int):
        return b.constant(np.tril(np.ones((rows, columns), dtype=np.bool_)))
    down = b.op("RANGE", start=(0,), limit=(rows,), delta=(1,), dtype="int32")
    across = b.op("RANGE", start=(0,), limit=(columns,), delta=(1,), dtype="int32")
    return b.op("GREATER_EQUAL", b.reshape(down, (rows, 1)), b.reshape(across, (1, columns)))


def _repeat_heads(b: LoweringBuilder, x: Tensor, heads: Size) -> Tensor:
    """Each head of a grouped key or value repeated for the queries of its group."""
    *batch, groups, length, width = x.shape
    times = heads // groups
    wide = b.broadcast(
        b.reshape(x, (*batch, groups, 1, length, width)), (*batch, groups, times, length, width)
    )
    return b.reshape(wide, (*batch, heads, length, width))
