"""PyTorch programs to the edge graph: the one lowering every writer of ours starts from."""

from __future__ import annotations

from edgeconv.plugin import LOWERINGS, ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="edge-lowering",
    version="1",
    kind="convert",
    source="torch-export",
    target="edge-graph",
    summary="translate PyTorch operators into the edge graph and optimize it",
    entry="edgeconv_converters.edge_graph_lowering.worker:convert",
    lane="torch",
    cost=Cost(fidelity=0, install_bytes=0, seconds=0.2),
    takes_live=True,
    warm=("torch",),
    requires=("torch",),
    extra="torch",
    extensions=LOWERINGS,
)
