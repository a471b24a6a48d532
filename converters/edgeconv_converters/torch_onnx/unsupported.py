"""Finds all operators that an exporter has no translation for: the exporters themselves stop at the first.

What the exporters know is in registries that PyTorch keeps to itself; where a release has moved them, the operator that the
exporter stopped at is all there is to tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import PurePath

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram

from edgeconv.errors import UnsupportedOperatorsError, counted
from edgeconv.lowering.sources import count_operators, operator_nodes

__all__ = ["unconvertible", "unsupported"]

_MISSING = re.compile(
    r"No ONNX function found for <OpOverload\(op='(?P<op>[^']+)', overload='(?P<overload>\w+)'"
)
_MISSING_SCRIPT = re.compile(r"Exporting the operator '(?P<op>[^']+)'")
_FRAME = re.compile(r"(?P<file>\S+)\((?P<line>\d+)\): (?P<function>\S+)")
_MOVED = (ImportError, AttributeError, TypeError)


def unsupported(
    program: ExportedProgram, error: BaseException, opset: int, added: Container[object] = ()
) -> UnsupportedOperatorsError | None:
    """What the exporter of programs lacks, if that is what its error says; `added` are operators it was told of."""
    match = _MISSING.search(str(error))
    if match is None:
        return None
    try:
        found = _missing_in_program(program, opset, added)
    except _MOVED:
        found = []
    return _refusal(found or [f"{match['op']}.{match['overload']}"])


def unconvertible(
    script: torch.jit.ScriptModule, error: BaseException, opset: int
) -> UnsupportedOperatorsError | None:
    """What the exporter of scripts lacks, if that is what its error says."""
    match = _MISSING_SCRIPT.search(str(error))
    if match is None:
        return None
    try:
        found = _missing_in_script(script, opset)
    except _MOVED:
        found = []
    return _refusal(found or [match["op"]])


def _refusal(found: list[str]) -> UnsupportedOperatorsError:
    return UnsupportedOperatorsError(
        f"{counted(len(found), 'operator')} without a translation to ONNX",
        why="PyTorch's exporter does not know what is listed",
        hint="write them with other operators, or ask for another format",
        details=found,
    )


def _missing_in_program(
    program: ExportedProgram, opset: int, added: Container[object]
) -> list[str]:
    from torch.onnx._internal.exporter import _fx_passes, _registration

    registry = _registration.ONNXRegistry.from_torchlib(opset)
    decomposed = _fx_passes.decompose_with_registry(program, registry)
    return count_operators(
        node
        for node in operator_nodes(decomposed.graph_module)
        if isinstance(node.target, OpOverload)
        and not registry.is_registered(node.target)
        and node.target not in added
    )


def _missing_in_script(script: torch.jit.ScriptModule, opset: int) -> list[str]:
    from torch.onnx._internal.torchscript_exporter import registration

    lines: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for node in _script_nodes(script.inlined_graph):
        kind = str(node.kind())
        if kind.startswith("aten::") and not registration.registry.is_registered_op(kind, opset):
            counts[kind] += 1
            lines.setdefault(kind, _first_line(str(node.sourceRange())))
    return [f"{op} x{count}, first at {lines[op]}" for op, count in counts.most_common()]


def _script_nodes(block: torch.Graph | torch.Block) -> Iterator[torch.Node]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _script_nodes(inner)


def _first_line(source_range: str) -> str:
    frame = _FRAME.search(source_range)
    if frame is None:
        return "?"
    return f"{PurePath(frame['file']).name}:{frame['line']} in {frame['function']}"
