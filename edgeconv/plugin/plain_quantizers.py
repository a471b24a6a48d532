"""Lets a quantized program run on operators that every PyTorch has, so that a trace of it runs everywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx, nn

__all__ = ["plain_quantizers"]

_NAMESPACE = "quantized_decomposed."


@contextlib.contextmanager
def plain_quantizers(module: nn.Module) -> Iterator[None]:
    """While it is open, calls of `quantized_decomposed` operators are those of the functions that PyTorch defines them with.

    The operators exist only where Python has defined them; the functions are made of ordinary ones, and compute the same.
    """
    from torch import fx

    graphs = [part for part in module.modules() if isinstance(part, fx.GraphModule)]
    before = {node: node.target for part in graphs for node in part.graph.nodes if _is_one(node)}
    changed = [part for part in graphs if any(node in before for node in part.graph.nodes)]
    try:
        for node in before:
            node.target = _function(str(node.target))
        for part in changed:
            part.recompile()
        yield
    finally:
        for node, target in before.items():
            node.target = target
        for part in changed:
            part.recompile()


def _is_one(node: fx.Node) -> bool:
    return node.op == "call_function" and str(node.target).startswith(_NAMESPACE)


def _function(operator: str) -> Callable[..., object]:
    from torch.ao.quantization.fx import _decomposed

    _, name, overload = operator.split(".")
    found: Callable[..., object] = getattr(
        _decomposed, name if overload == "default" else f"{name}_{overload}"
    )
    return found
