"""Writes an edge graph as a TFLite file, straight into the flatbuffer: no framework, no other tool's intermediate form."""

from __future__ import annotations

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="edge-tflite",
    version="1",
    kind="convert",
    source="edge-graph",
    target="tflite",
    summary="edgeconv's own TFLite writer: operators one to one, dynamic dims kept",
    entry="edgeconv_converters.edge_graph_tflite.worker:convert",
    lane="light",
    warm=("flatbuffers", "ai_edge_litert.schema_py_generated", "ai_edge_litert.interpreter"),
    requires=("flatbuffers", "ai_edge_litert"),
    extra="tflite",
    cost=Cost(fidelity=0, install_bytes=60_000_000, seconds=0.3),
)
