"""Branches and loops. Their bodies are graphs; a loop carries its inputs from one turn to the next."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect, shapes_agree
from edgeconv.signature import DType

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


def _infer_if(node: Node) -> list[TensorType]:
    condition = node.input(0)
    expect(condition.dtype == DType.BOOL and condition.rank == 0, node, "the condition is no bool")
    branches = [node.subgraph("then_branch"), node.subgraph("else_branch")]
    for graph in branches:
        expect(len(graph.inputs) == len(node.inputs) - 1, node, "a branch takes other values")
    first, second = ([(t.dtype, t.shape) for t in graph.outputs] for graph in branches)
    alike = len(first) == len(second) and all(
        dtype == other and shapes_agree(shape, other_shape)
        for (dtype, shape), (other, other_shape) in zip(first, second, strict=True)
    )
    expect(alike, node, "the branches give other values")
    return first


OPS = (
    # The outputs of one branch or the other, as the first input (a bool scalar) says; the rest are the branches' inputs.
    OpSpec(name="IF", arity=(1, None), infer=_infer_if, required=("then_branch", "else_branch")),
    # While `cond` (one bool scalar) holds, replace the carried values by those of `body`.
    OpSpec(name="WHILE", arity=(1, None), infer=_infer_while, required=("cond", "body")),
)
