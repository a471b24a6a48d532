"""Writes ONNX from the edge graph, channels first, one ONNX operator for each of the graph's."""

from __future__ import annotations

from edgeconv.plugin import LOWERINGS, ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="edge-onnx",
    version="1",
    kind="convert",
    source="torch-export",
    target="onnx",
    summary="edgeconv's own ONNX writer: lowered with channels first, dynamic dims kept",
    entry="edgeconv_converters.edge_graph_onnx.worker:convert",
    lane="torch",
    cost=Cost(fidelity=0, install_bytes=60_000_000, seconds=0.3),
    takes_live=True,
    warm=("torch",),
    requires=("torch", "onnx"),
    extra="onnx,torch",
    extensions=LOWERINGS,
)
