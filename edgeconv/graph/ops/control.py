"""Loops. Bodies are graphs whose inputs are the carried values."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect

__all__ = ["OPS"]


def _infer_while(node: Node) -> list[TensorType]:
    condition, body = node.subgraph("cond"), node.subgraph("body")
    carried = [node.input(i) for i in range(len(node.inputs))]
    for graph in (condition, body):
        expect(len(graph.inputs) == len(carried), node, "a subgraph takes other values")
    expect(len(body.outputs) == len(carried), node, "the body gives other values")
    for value, result in zip(carried, body.outputs, strict=True):
        expect(value.dtype == result.dtype, node, f"'{value.name}' changes its dtype")
    return [(value.dtype, value.shape) for value in carried]


OPS = (
    # While `cond` (one bool scalar) holds, replace the carried values by those of `body`.
    OpSpec(name="WHILE", arity=(1, None), infer=_infer_while, required=("cond", "body")),
)
