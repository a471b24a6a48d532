"""What a case of an operator is, and the tensors that cases share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["Case", "case", "integers", "randn", "weight"]


@dataclass(frozen=True)
class Case:
    """A function of tensors, and its inputs.

    Attributes:
        dynamic: For each input the sizes that are dynamic, by axis: `N`, or `2*H`. Such a case runs at other sizes too.
        growths: What is added to the example of each dim, a run each.
    """

    name: str
    function: Callable[..., object]
    inputs: tuple[Tensor, ...]
    dynamic: tuple[Mapping[int, str], ...] = ()
    growths: tuple[int, ...] = (0, 1, 4)


def case(
    name: str,
    function: Callable[..., object],
    *inputs: Tensor,
    dynamic: tuple[Mapping[int, str], ...] = (),
    growths: tuple[int, ...] = (0, 1, 4),
) -> Case:
    """A case."""
    return Case(name, function, inputs, dynamic, growths)


def randn(*shape: int) -> Tensor:
    """Normal values, the same for the same shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


def integers(*shape: int, low: int = -5, high: int = 6, dtype: torch.dtype = torch.int64) -> Tensor:
    """Whole numbers, the same for the same shape."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(low, high, shape, generator=generator).to(dtype)


@cache
def weight(*shape: int) -> Tensor:
    """The same tensor at every call, so that a program captured after a first run holds it as a constant."""
    return randn(*shape) * 0.3
