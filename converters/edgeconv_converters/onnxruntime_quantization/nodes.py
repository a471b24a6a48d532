"""What is asked of single nodes."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, NodeProto, helper

__all__ = ["attributes_of", "bodies_of", "first_output", "nodes_within"]


def attributes_of(node: NodeProto) -> dict[str, object]:
    """The attributes of a node by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def first_output(node: NodeProto) -> str:
    """The name of the first output that a node has."""
    return next((name for name in node.output if name), "")


def nodes_within(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node of a graph and of the bodies inside it."""
    for node in graph.node:
        yield node
        for body in bodies_of(node):
            yield from nodes_within(body)


def bodies_of(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs inside of a branch or loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
