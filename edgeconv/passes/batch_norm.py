"""Joins a multiplication and an addition with one constant for each channel: a batch norm that no convolution took up."""

from __future__ import annotations

import numpy as np

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.builder import make_node
from edgeconv.graph.model import Constant
from edgeconv.signature import DType

__all__ = ["join_batch_norms"]

_SMALLEST_RANK = 4


def join_batch_norms(graph: Graph) -> int:
    """Replace the pairs by BATCH_NORM, in images and volumes with channels first.

    Returns:
        The number of pairs.
    """
    consumers, returned = graph.consumers(), set(graph.outputs)
    joined: dict[Node, Node] = {}
    dropped: set[Node] = set()
    for node in graph.nodes:
        found = _per_channel(node, "MUL")
        if found is None or node.output in returned:
            continue
        (reader, *others) = consumers[node.output]
        shift = _per_channel(reader, "ADD")
        if others or shift is None or shift[0] is not node.output:
            continue
        joined[reader] = _batch_norm(reader, found[0], found[1], shift[1])
        dropped.add(node)
    graph.nodes = [joined.get(node, node) for node in graph.nodes if node not in dropped]
    return len(joined)


def _per_channel(node: Node, op: str) -> tuple[Tensor, Constant] | None:
    """What a node applies a constant of each channel to, and the constant."""
    is_image = node.op == op and node.outputs[0].rank >= _SMALLEST_RANK
    if not is_image or node.output.dtype != DType.FLOAT32:
        return None
    channels = node.output.shape[1]
    for data, other in ((0, 1), (1, 0)):
        x, constant = node.input(data), node.input(other).constant
        if constant is None or x.shape != node.output.shape:
            continue
        place = constant.ndim - (x.rank - 1)
        if place >= 0 and constant.shape[place] == constant.size == channels:
            return x, constant.reshape(-1)
    return None


def _batch_norm(reader: Node, x: Tensor, scale: Constant, shift: Constant) -> Node:
    name = reader.output.name
    inputs = [
        x,
        Tensor(name=f"{name}/scale", dtype=x.dtype, shape=scale.shape, constant=scale),
        Tensor(name=f"{name}/shift", dtype=x.dtype, shape=shift.shape, constant=np.array(shift)),
    ]
    node = make_node("BATCH_NORM", inputs, names=[name], source=reader.source)
    node.outputs = reader.outputs
    return node
