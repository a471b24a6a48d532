"""TFLite through Google's litert-torch: the second route."""

from __future__ import annotations

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="litert-torch",
    version="1",
    kind="convert",
    source="torch-export",
    target="tflite",
    summary="litert-torch, the second route to TFLite",
    entry="edgeconv_converters.litert_torch.worker:convert",
    lane="litert-torch",
    cost=Cost(fidelity=1, install_bytes=900_000_000, seconds=12.0),
    warm=("litert_torch",),
    requires=("litert_torch", "ai_edge_litert"),
    extra="litert-torch",
)
