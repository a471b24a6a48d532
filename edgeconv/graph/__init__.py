"""The edge graph: one small, typed graph of TFLite-like operators that every writer reads.

A graph is made by the lowering, rewritten by the passes, and read by the writers. Operators have the names and the
semantics of TFLite's builtin operators. What TFLite passes as small constant tensors (shapes, permutations, axes,
paddings) are attributes here, because passes rewrite them and because they may be expressions over dynamic dims.
"""

from __future__ import annotations

from edgeconv.graph.builder import Builder
from edgeconv.graph.check import check_graph
from edgeconv.graph.model import Attribute, Graph, GraphError, Node, Source, Tensor
from edgeconv.graph.text import format_graph

__all__ = [
    "Attribute",
    "Builder",
    "Graph",
    "GraphError",
    "Node",
    "Source",
    "Tensor",
    "check_graph",
    "format_graph",
]
