"""How PyTorch keeps the weights of LSTM, GRU and RNN: one flat list, direction by direction and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Weights", "cut_weights"]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Weights(Generic[Value]):
    """One direction of one layer: W_ih[g*h, i], W_hh[g*h, r], biases[g*h], and the projection W_hr[r, h]."""

    input: Value
    hidden: Value
    input_bias: Value | None = None
    hidden_bias: Value | None = None
    projection: Value | None = None


def cut_weights(
    params: Sequence[Value], directions: int, *, has_biases: bool
) -> list[Weights[Value]]:
    """PyTorch's flat list, cut into directions: two matrices, two biases if any, the projection if any.

    Args:
        params: The list.
        directions: Of all layers together.
        has_biases: Whether there are biases.
    """
    count = len(params) // directions
    cells = [params[i : i + count] for i in range(0, len(params), count)]
    if has_biases:
        return [Weights(*cell) for cell in cells]
    return [Weights(cell[0], cell[1], None, None, *cell[2:]) for cell in cells]
