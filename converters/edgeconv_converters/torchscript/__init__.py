"""TorchScript from the live module: traced or scripted, whichever keeps what the model does; then the other way."""

from __future__ import annotations

from dataclasses import replace

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["OTHERWISE", "SPEC"]

SPEC = ConverterSpec(
    id="torchscript",
    version="1",
    kind="convert",
    source="torch",
    target="torchscript",
    summary="torch.jit.trace, or torch.jit.script where the model has control flow; frozen",
    entry="edgeconv_converters.torchscript.worker:convert",
    lane="torch",
    cost=Cost(fidelity=0, install_bytes=0, seconds=0.8),
    warm=("torch",),
    requires=("torch",),
    extra="torch",
)

OTHERWISE = replace(
    SPEC,
    id="torchscript-otherwise",
    summary="the other of torch.jit.trace and torch.jit.script; frozen",
    entry="edgeconv_converters.torchscript.worker:convert_otherwise",
    cost=Cost(fidelity=1, install_bytes=0, seconds=0.8),
)
