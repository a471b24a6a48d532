"""Reading elements at indices."""

from __future__ import annotations

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import lower

__all__ = ["LOWERINGS"]


@lower("aten.gather")
def gather(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, **_: object) -> Tensor | None:
    return (
        b.op("GATHER_ELEMENTS", x, index, axis=dim % x.rank) if x.rank == index.rank > 0 else None
    )


LOWERINGS = (gather,)
