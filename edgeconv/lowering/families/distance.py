"""Distances between rows."""

from __future__ import annotations

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.reduction import p_norm
from edgeconv.lowering.registry import lower


@lower("aten.cdist", "aten._cdist_forward")
def cdist(
    b: LoweringBuilder, x: Tensor, y: Tensor, p: float = 2, compute_mode: object = None
) -> Tensor:
    """Every row of x against every row of y."""
    columns = b.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))
    rows = b.reshape(y, (*y.shape[:-2], 1, *y.shape[-2:]))
    difference = b.op("SUB", columns, rows)
    return p_norm(b, difference, p, [difference.rank - 1], keep_dims=False)
