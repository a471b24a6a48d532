"""Branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ValueInfoProto, helper

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
        branches[name] = _body(name, emitter, (), results, graph)
    return call.emitter.ops("If", len(call.node.outputs), call.input(0), **branches)


def _while(call: Call) -> list[str]:
    """A loop without a limit; its condition is computed before the first turn and at the end of each."""
    condition, body = call.node.subgraph("cond"), call.node.subgraph("body")
    (is_wanted,) = call.write_graph(condition, call.inputs, call.emitter)
    inner = call.emitter.fork()
    turn, wanted = inner.names.take("turn"), inner.names.take("is_wanted")
    carried = [inner.names.take(tensor.name) for tensor in body.inputs]
    results = call.write_graph(body, carried, inner)
    (again,) = call.write_graph(condition, results, inner)
    again = inner.op("Identity", again)
    inputs = [
        value_info(turn, DType.INT64, ()),
        value_info(wanted, DType.BOOL, ()),
        *(
            value_info(name, tensor.dtype, tensor.shape)
            for name, tensor in zip(carried, body.inputs, strict=True)
        ),
    ]
    graph = _body("body", inner, inputs, results, body, first=[value_info(again, DType.BOOL, ())])
    count = len(call.node.outputs)
    return call.emitter.ops("Loop", count, "", is_wanted, *call.inputs, body=graph)


def _body(
    name: str,
    emitter: Emitter,
    inputs: Sequence[ValueInfoProto],
    results: Sequence[str],
    graph: Graph,
    first: Sequence[ValueInfoProto] = (),
) -> GraphProto:
    """A body gives values of its own: what it only passes on is copied."""
    own = {output for node in emitter.nodes for output in node.output}
    given: list[str] = []
    for result in results:
        is_new = result in own and result not in given
        given.append(result if is_new else emitter.op("Identity", result))
    outputs = [
        value_info(result, tensor.dtype, tensor.shape)
        for result, tensor in zip(given, graph.outputs, strict=True)
    ]
    return helper.make_graph(emitter.nodes, name, inputs, [*first, *outputs])


TRANSLATIONS: Mapping[str, Translation] = {"IF": _if, "WHILE": _while}
