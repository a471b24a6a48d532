"""How an operator that is one operator of the graph is declared."""

from __future__ import annotations

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import Lowering

__all__ = ["direct"]


def direct(op: str, *names: str) -> Lowering:
    """One operator of the graph, on inputs in the result's dtype."""

    def function(b: LoweringBuilder, *inputs: Tensor) -> Tensor:
        return b.op(op, *(b.cast(x, b.dtype) for x in inputs))

    return Lowering(names, function)
