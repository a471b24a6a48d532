"""TorchScript from the live module: traced, or scripted where tracing cannot follow it."""

from __future__ import annotations

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="torchscript",
    version="1",
    kind="convert",
    source="torch",
    target="torchscript",
    summary="torch.jit.trace, torch.jit.script where tracing cannot follow control flow; frozen",
    entry="edgeconv_converters.torchscript.worker:convert",
    lane="torch",
    cost=Cost(fidelity=0, install_bytes=0, seconds=0.8),
    warm=("torch",),
    requires=("torch",),
    extra="torch",
)
