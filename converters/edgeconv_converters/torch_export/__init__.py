"""Captures a PyTorch model with `torch.export`: the only step that runs the user's code."""

from __future__ import annotations

from edgeconv.plugin import LOWERINGS, ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="torch-export",
    version="1",
    kind="convert",
    source="torch",
    target="torch-export",
    summary="Builds the model, exports it as a program, and records what it computes.",
    entry="edgeconv_converters.torch_export.worker:capture",
    lane="torch",
    cost=Cost(fidelity=0, install_bytes=900_000_000, seconds=3.0),
    warm=("torch", "torch.export"),
    requires=("torch",),
    extra="torch",
    extensions=LOWERINGS,
)
