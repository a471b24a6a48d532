"""Brings nodes into an order in which they can run: the library's own sort does not see what bodies of branches read."""

from __future__ import annotations

from collections import deque

from onnx import GraphProto, NodeProto

from edgeconv_converters.onnxruntime_quantization.nodes import bodies_of, nodes_within

__all__ = ["sort_nodes"]


def sort_nodes(graph: GraphProto) -> None:
    """Sort the nodes of a graph, and keep their order otherwise."""
    nodes = list(graph.node)
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    waits = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for index, others in enumerate(waits):
        for other in others:
            readers[other].append(index)
    left = [len(others) for others in waits]
    ready = deque(index for index, count in enumerate(left) if not count)
    order: list[NodeProto] = []
    while ready:
        index = ready.popleft()
        order.append(nodes[index])
        for reader in readers[index]:
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    del graph.node[:]
    graph.node.extend(order)


def _reads(node: NodeProto) -> set[str]:
    """What a node reads, and what the graphs inside of it do."""
    read = set(node.input)
    for body in bodies_of(node):
        read |= {name for inner in nodes_within(body) for name in inner.input}
        read |= {value.name for value in body.output}
    return read
