"""Numbers that a program takes from tensors, such as `x.mean().item()`."""

from __future__ import annotations

import torch
from torch import fx

__all__ = ["is_plain_number"]

_NUMBER_TYPES = ("Tensor", "number", "float")


def is_plain_number(node: fx.Node) -> bool:
    """Whether the number that a node takes from a tensor is computed with, and no size of anything.

    Args:
        node: Of `aten.item`; PyTorch has a symbol for what it gives.
    """
    value = node.meta["val"]
    if isinstance(value, torch.SymFloat):
        return bool(value.node.expr.is_Symbol)
    if not isinstance(value, torch.SymInt) or not value.node.expr.is_Symbol:
        return False
    return all(_computes_with(user, node) for user in node.users)


def _computes_with(user: fx.Node, node: fx.Node) -> bool:
    target, symbol = user.target, node.meta["val"].node.expr
    result = user.meta.get("val")
    if isinstance(result, torch.SymFloat):  # Python's own arithmetic
        return True
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if not isinstance(result, torch.Tensor) or any(_depends(size, symbol) for size in result.shape):
        return False
    arguments = target._schema.arguments
    given = [*zip(arguments, user.args, strict=False)]
    given += [(a, user.kwargs[a.name]) for a in arguments if a.name in user.kwargs]
    return all(str(a.type) in _NUMBER_TYPES for a, argument in given if argument is node)


def _depends(size: int | torch.SymInt, symbol: object) -> bool:
    return isinstance(size, torch.SymInt) and symbol in size.node.expr.free_symbols
