"""Finds the lines of a model that make sizes of the values of tensors, in the program that PyTorch exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch.export import ExportedProgram

from edgeconv_converters.torch_export.refusals import Frame, model_lines, named_frames

__all__ = ["value_lines"]


def value_lines(program: ExportedProgram, shape: Iterable[int | torch.SymInt]) -> list[str]:
    """`file:line: code` of what gave the sizes of `shape` that are not known before the model runs."""
    wanted = {str(symbol) for size in shape for symbol in _symbols(size)}
    return model_lines(
        frame
        for node in program.graph.nodes
        if wanted & {str(symbol) for symbol in node.meta.get("unbacked_bindings") or {}}
        for frame in _frames(node)
    )


def _symbols(size: int | torch.SymInt) -> set[object]:
    return set() if isinstance(size, int) else set(size.node.expr.free_symbols)


def _frames(node: torch.fx.Node) -> Iterator[Frame]:
    """Innermost first, as `model_lines` takes them."""
    return reversed(list(named_frames(node.stack_trace or "")))
