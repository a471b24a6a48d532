"""Fuses an activation into the operator before it, where TFLite's kernel applies it on the way."""

from __future__ import annotations

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.signature import DType

__all__ = ["fuse_activations", "has_fusable_activations"]

_FUSABLE = ("RELU", "RELU6", "RELU_N1_TO_1")


def fuse_activations(graph: Graph) -> int:
    """Fuse every activation that alone reads a float operator that can apply it.

    Returns:
        The number of activations fused.
    """
    found = _find(graph)
    for before, node in found:
        before.attributes["fused_activation_function"] = node.op
        before.outputs = [node.output]
    fused = {id(node) for _, node in found}
    graph.nodes = [node for node in graph.nodes if id(node) not in fused]
    return len(found)


def _find(graph: Graph) -> list[tuple[Node, Node]]:
    producers, consumers = graph.producers(), graph.consumers()
    returned = set(graph.outputs)
    found = []
    for node in graph.nodes:
        before = producers.get(node.input(0)) if node.op in _FUSABLE else None
        if before is None or not _takes(before):
            continue
        read: Tensor = before.output
        if len(consumers[read]) == 1 and read not in returned:
            found.append((before, node))
    return found


def _takes(node: Node) -> bool:
    activation = node.attributes.get("fused_activation_function")
    return activation == "NONE" and node.outputs[0].dtype == DType.FLOAT32


def has_fusable_activations(graph: Graph) -> str | None:
    """None when no activation is left that could be fused."""
    found = _find(graph)
    return f"{found[0][1].output!r} could be fused" if found else None
