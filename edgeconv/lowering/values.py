"""What the nodes of a PyTorch program stand for while it is lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from edgeconv.dims import DimExpr
from edgeconv.graph import Tensor

__all__ = ["ComplexPair", "Value", "is_known"]

# A graph tensor, a size, a number or another plain argument, a list of values, or a torch.Tensor: a constant that
# PyTorch itself has computed, which becomes a graph constant when an operator of the graph reads it.
Value: TypeAlias = object


@dataclass(frozen=True, slots=True)
class ComplexPair:
    """A complex tensor as its real and imaginary parts, which is how the graph holds complex values."""

    real: Tensor
    imag: Tensor


def is_known(value: Value) -> bool:
    """Whether PyTorch can compute with it now: no graph tensor and no dynamic size is part of it."""
    if isinstance(value, Tensor | DimExpr | ComplexPair):
        return False
    if isinstance(value, list | tuple):
        return all(is_known(item) for item in value)
    if isinstance(value, dict):
        return all(is_known(item) for item in value.values())
    return True
