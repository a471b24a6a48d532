"""Rewrites operators that only TorchScript writes into those that everyone knows."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from edgeconv.lowering.retracing import run_decompositions

__all__ = ["without_private_operators"]


def without_private_operators(program: ExportedProgram) -> ExportedProgram:
    """The program with `_convolution`, of which most exporters know nothing, as `convolution`."""
    private = torch.ops.aten._convolution.default
    if not any(node.target is private for node in program.graph.nodes):
        return program
    return run_decompositions(program, {private: _convolution})


def _convolution(*arguments: object) -> torch.Tensor:
    """The public operator takes the same arguments without the flags at the end."""
    result: torch.Tensor = torch.ops.aten.convolution.default(*arguments[:9])
    return result
