"""Distances between rows."""

from __future__ import annotations

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.reduction import p_norm
from edgeconv.lowering.refusal import CannotLowerError
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


@lower("aten._pdist_forward")
def pdist(b: LoweringBuilder, x: Tensor, p: float = 2) -> Tensor:
    """Every row against those after it."""
    count = x.shape[0]
    if not isinstance(count, int):
        raise CannotLowerError("of a dynamic number of rows")
    first, second = (
        b.op("GATHER", x, b.constant(index.astype(np.int32))) for index in np.triu_indices(count, 1)
    )
    return p_norm(b, b.op("SUB", first, second), p, [1], keep_dims=False)
