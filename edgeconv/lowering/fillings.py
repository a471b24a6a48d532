"""Tensors that take shape and dtype from another one and nothing else, such as `x.new_zeros(3, 4)`: their values are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import fx

__all__ = ["is_filling", "make_filling"]

_MOST_ELEMENTS = 2**20
# The value, from the node's own arguments; larger ones than `_MOST_ELEMENTS` are better filled where they run.
_VALUES: Mapping[str, Callable[[fx.Node], object]] = {
    "aten.new_zeros.default": lambda _: 0,
    "aten.zeros_like.default": lambda _: 0,
    "aten.new_ones.default": lambda _: 1,
    "aten.ones_like.default": lambda _: 1,
    "aten.new_full.default": lambda node: node.args[2] if len(node.args) > 2 else None,
    "aten.full_like.default": lambda node: node.args[1] if len(node.args) > 1 else None,
}


def is_filling(node: fx.Node) -> bool:
    """Whether the node makes a tensor of fixed sizes that holds one known number."""
    find = _VALUES.get(str(node.target))
    made = node.meta.get("val")
    if find is None or not isinstance(made, torch.Tensor):
        return False
    is_static = all(isinstance(size, int) for size in made.shape)
    is_small = is_static and made.numel() <= _MOST_ELEMENTS
    return is_small and isinstance(find(node), bool | int | float)


def make_filling(node: fx.Node) -> torch.Tensor:
    """The tensor of a node that `is_filling`."""
    made: torch.Tensor = node.meta["val"]
    value = _VALUES[str(node.target)](node)
    if not isinstance(value, bool | int | float):
        raise TypeError(f"{node} is filled with {value!r}")
    return torch.full(made.shape, value, dtype=made.dtype)
