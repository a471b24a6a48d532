"""Writes an edge graph as a TensorFlow SavedModel, one TensorFlow call for each operator."""

from __future__ import annotations

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="edge-savedmodel",
    version="1",
    kind="convert",
    source="edge-graph",
    target="savedmodel",
    summary="edgeconv's own SavedModel writer: weights as variables, dynamic dims kept",
    entry="edgeconv_converters.edge_graph_savedmodel.worker:convert",
    lane="tensorflow",
    warm=("tensorflow",),
    requires=("tensorflow",),
    extra="tensorflow",
    cost=Cost(fidelity=0, install_bytes=1_600_000_000, seconds=2.0),
)
