"""Says what litert-torch refuses: all operators it has no translation for, where it stops at the first itself."""

from __future__ import annotations

import operator
import re

import torch
from torch import nn

from edgeconv.errors import ConversionError, StepError, UnsupportedOperatorsError, counted
from edgeconv.lowering.sources import count_operators, operator_nodes

__all__ = ["explain"]

_MISSING = re.compile(r"Lowering not found: (?P<op>\S+)")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*\n\s*(?P<code>[^\n]+)')
_MACHINERY = re.compile(r"/site-packages/|/edgeconv(_converters)?/|^torch/|^<")


def explain(
    error: Exception, module: nn.Module, examples: tuple[torch.Tensor, ...]
) -> ConversionError:
    """The error to tell for one of litert-torch.

    Args:
        error: What it raised.
        module: What it was to convert.
        examples: Inputs of the module.
    """
    text = str(error).strip()
    missing = _MISSING.search(text)
    if missing is None:
        return StepError(
            "litert-torch cannot convert the program",
            why=f"{type(error).__name__}: {text.partition(chr(10))[0]}",
            details=_user_lines(text),
        )
    found = _find_missing(module, examples) or [missing["op"]]
    return UnsupportedOperatorsError(
        f"litert-torch does not know {counted(len(found), 'operator')}",
        why="it has no translation for what is listed",
        details=found,
    )


def _find_missing(module: nn.Module, examples: tuple[torch.Tensor, ...]) -> list[str]:
    """Decompose as litert-torch does, and look every operator up."""
    try:
        from litert_torch import fx_infra
        from litert_torch.backend import lowerings

        program = torch.export.export(module, examples)
        for table in (fx_infra.decomp.pre_convert_decomp(), fx_infra.decomp.pre_lower_decomp()):
            program = fx_infra.safe_run_decompositions(program, table, can_skip=False)
        return count_operators(
            node
            for node in operator_nodes(program.graph_module)
            if node.target is not operator.getitem and lowerings.lookup(node.target) is None
        )
    except (ImportError, AttributeError, TypeError):  # a release that keeps its tables elsewhere
        return []


def _user_lines(text: str) -> list[str]:
    """`file:line: code` of the user's frames that the message names, innermost first."""
    frames = [m for m in _FRAME.finditer(text) if not _MACHINERY.search(m["file"])]
    lines = [f"{m['file']}:{m['line']}: {m['code'].strip()}" for m in reversed(frames)]
    return list(dict.fromkeys(lines))
