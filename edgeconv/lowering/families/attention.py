"""Scaled dot-product attention."""

from __future__ import annotations

import math

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import lowest
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.reduction import log_of_sum
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
    scores = _scores(b, query, key, scale)
    if is_causal:
        attn_mask = causal_mask(b, query.shape[-2], key.shape[-2])
    if attn_mask is None:
        shares = b.op("SOFTMAX", scores)
    elif attn_mask.dtype == DType.BOOL:
        shares = _softmax_where(b, scores, attn_mask, has_causal=is_causal)
    else:
        shares = _softmax_plus(b, scores, b.cast(attn_mask, scores.dtype))
    return b.op("BATCH_MATMUL", shares, value)


def _scores(b: LoweringBuilder, query: Tensor, key: Tensor, scale: float | None) -> Tensor:
    width = query.shape[-1]
    factor = scale if scale is not None else float(int(str(width))) ** -0.5
    scaled = b.op("MUL", query, b.scalar(factor, query.dtype))
    return b.op("BATCH_MATMUL", scaled, key, adj_y=True)


@lower("aten._scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    b: LoweringBuilder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> list[Tensor]:
    """How PyTorch computes attention on a CPU; beside the result the logarithm of each row's sum of powers."""
    scores = _scores(b, query, key, scale)
    if is_causal:
        mask = causal_mask(b, query.shape[-2], key.shape[-2])
        scores = b.op("SELECT_V2", mask, scores, b.scalar(-math.inf, scores.dtype))
    elif attn_mask is not None:
        scores = b.op("ADD", scores, b.cast(attn_mask, scores.dtype))
    attended = b.op("BATCH_MATMUL", b.op("SOFTMAX", scores), value)
    return [attended, log_of_sum(b, scores, [scores.rank - 1], keep_dims=False)]


# A row that is masked as a whole attends to nothing: PyTorch gives zeros for it, a softmax alone NaN or equal shares.


def _softmax_where(b: LoweringBuilder, scores: Tensor, mask: Tensor, *, has_causal: bool) -> Tensor:
    closed = b.scalar(lowest(scores.dtype), scores.dtype)
    shares = b.op("SOFTMAX", b.op("SELECT_V2", mask, scores, closed))
    if has_causal or (mask.constant is not None and mask.constant.any(axis=-1).all()):
        return shares
    return b.op("SELECT_V2", mask, shares, b.scalar(0, shares.dtype))


def _softmax_plus(b: LoweringBuilder, scores: Tensor, mask: Tensor) -> Tensor:
    masked = b.op("ADD", scores, mask)
    shares = b.op("SOFTMAX", masked)
    if mask.constant is not None and np.isfinite(mask.constant).any(axis=-1).all():
        return shares
    is_open = b.op("GREATER", masked, b.scalar(-math.inf, masked.dtype))
    return b.op("SELECT_V2", is_open, shares, b.scalar(0, shares.dtype))


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
