"""Branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ValueInfoProto, helper

from edgeconv.graph import Graph
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.call import Call, Translation
from edgeconv_converters.edge_graph_onnx.emitter import Emitter, value_info

__all__ = ["TRANSLATIONS"]


def _if(call: Call) -> list[str]:
    """Branches read what is around them: they take no inputs."""
    branches = {}
    for name in ("then_branch", "else_branch"):
        graph, emitter = call.node.subgraph(name), call.emitter.fork()
        results = call.write_graph(graph, call.inputs[1:], emitter)
        outputs = _give(emitter, results, graph)
        branches[name] = helper.make_graph(emitter.nodes, name, [], outputs)
    return call.emitter.ops("If", len(call.node.outputs), call.input(0), **branches)


def _while(call: Call) -> list[str]:
    """A loop without a limit; its condition is computed before the first turn and at the end of each."""
    condition, body = call.node.subgraph("cond"), call.node.subgraph("body")
    (is_wanted,) = call.write_graph(condition, call.inputs, call.emitter)
    inner = call.emitter.fork()
    carried = [inner.names.take(tensor.name) for tensor in body.inputs]
    results = call.write_graph(body, carried, inner)
    outputs = [*_give(inner, call.write_graph(condition, results, inner), condition)]
    outputs += _give(inner, results, body)
    inputs = [
        value_info(inner.names.take("turn"), DType.INT64, ()),
        value_info(inner.names.take("is_wanted"), DType.BOOL, ()),
        *(value_info(n, t.dtype, t.shape) for n, t in zip(carried, body.inputs, strict=True)),
    ]
    graph = helper.make_graph(inner.nodes, "body", inputs, outputs)
    count = len(call.node.outputs)
    return call.emitter.ops("Loop", count, "", is_wanted, *call.inputs, body=graph)


def _give(emitter: Emitter, results: Sequence[str], graph: Graph) -> list[ValueInfoProto]:
    """Copies, which a body gives: each is a value of its own, also where a value is only passed on, or twice."""
    return [
        value_info(emitter.op("Identity", result), tensor.dtype, tensor.shape)
        for result, tensor in zip(results, graph.outputs, strict=True)
    ]


TRANSLATIONS: Mapping[str, Translation] = {"IF": _if, "WHILE": _while}
