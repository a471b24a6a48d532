"""What `torch.export` makes of a sample, and which operators that takes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx
from torch._ops import OpOverload
from torch.export import ExportedProgram

from benchmarks.opinfo.samples import Sample
from edgeconv.lowering.retracing import keep_recurrent_operators

__all__ = ["core_class", "export_sample", "is_random"]

# Sizes and assertions belong to every operator set.
_NEUTRAL = ("aten.sym_", "aten._assert_", "aten.detach.default", "aten.lift_fresh_copy.default")


def export_sample(sample: Sample) -> ExportedProgram:
    """The program of a sample; whatever PyTorch raises where it cannot capture one."""
    with torch.no_grad(), keep_recurrent_operators():
        return torch.export.export(sample.module, sample.inputs, strict=False)


def is_random(program: ExportedProgram) -> bool:
    """Whether the values of the result are drawn, or whatever was in memory, so that no two runs agree."""
    return any(
        torch.Tag.nondeterministic_seeded in op.tags or "empty" in str(op)
        for op in _overloads(program)
    )


def core_class(program: ExportedProgram) -> str:
    """How a program belongs to Core ATen, PyTorch's smallest operator set.

    Returns:
        `exported` where every operator of the program as exported is tagged as core, `decomposed` where every
        operator is after PyTorch's own decompositions, else nothing.
    """
    overloads = _overloads(program)
    if not overloads:
        return ""
    if _all_core(overloads):
        return "exported"
    return "decomposed" if _decomposes(program) else ""


_KNOWN: dict[frozenset[str], bool] = {}


def _decomposes(program: ExportedProgram) -> bool:
    key = frozenset(map(str, _overloads(program)))
    if key not in _KNOWN:
        _KNOWN[key] = _all_core(_overloads(program.run_decompositions()))
    return _KNOWN[key]


def _all_core(overloads: Iterable[OpOverload]) -> bool:
    return all(torch.Tag.core in op.tags or str(op).startswith(_NEUTRAL) for op in overloads)


def _overloads(program: ExportedProgram) -> list[OpOverload]:
    modules = [m for m in program.graph_module.modules() if isinstance(m, fx.GraphModule)]
    targets = [node.target for module in modules for node in module.graph.nodes]
    return [target for target in targets if isinstance(target, OpOverload)]
