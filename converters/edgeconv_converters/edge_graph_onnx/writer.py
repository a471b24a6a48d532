"""Translates a graph into an ONNX model, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from edgeconv.formats.onnx_file import Weight
from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.readings import find_readings
from edgeconv_converters.edge_graph_onnx.call import Call
from edgeconv_converters.edge_graph_onnx.emitter import Constants, Emitter, Names, value_info
from edgeconv_converters.edge_graph_onnx.matrix import reads_transposed
from edgeconv_converters.edge_graph_onnx.sizes import Sizes
from edgeconv_converters.edge_graph_onnx.stored import add_constant
from edgeconv_converters.edge_graph_onnx.table import TRANSLATIONS

__all__ = ["Model", "build_model"]

# The first opset that has GELU; every ONNX Runtime since 1.17 reads it.
_OPSET = 20
_IR_VERSION = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model whose large weights are not in it.

    Attributes:
        proto: The model.
        weights: For each initializer its bytes, or None where it holds them itself.
    """

    proto: onnx.ModelProto
    weights: list[Weight | None]


def build_model(graph: Graph) -> Model:
    """Write a graph whose operators all have a translation.

    Raises:
        ConversionError: A dynamic dim cannot be read from any input.
    """
    names = Names()
    for tensor in (*graph.inputs, *graph.outputs):
        names.take(tensor.name)
    constants = Constants(names)
    for part in (graph, *graph.subgraphs()):
        _expect_weights(part, constants)
    emitter = Emitter(names=names, constants=constants)
    readings = find_readings(graph.inputs)
    inputs = [tensor.name for tensor in graph.inputs]
    sizes = Sizes(emitter, inputs, readings)
    writer = _GraphWriter(emitter, sizes, {})
    results = writer.write(graph, inputs)
    _name_outputs(emitter, results, graph)
    body = helper.make_graph(
        emitter.nodes,
        graph.name,
        [value_info(t.name, t.dtype, t.shape) for t in graph.inputs],
        [value_info(t.name, t.dtype, t.shape) for t in graph.outputs],
        initializer=constants.tensors,
    )
    proto = helper.make_model(
        body, producer_name="edgeconv", opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    proto.ir_version = _IR_VERSION
    return Model(proto=proto, weights=constants.weights)


def _expect_weights(graph: Graph, constants: Constants) -> None:
    for node in graph.nodes:
        for index, tensor in enumerate(node.inputs):
            if tensor is None or tensor.constant is None or reads_transposed(node, index):
                continue
            constants.expect(tensor.constant)


def _name_outputs(emitter: Emitter, results: Sequence[str], graph: Graph) -> None:
    """Let the nodes that make the outputs make them under their names."""
    renamed: dict[str, str] = {}
    own = {output for node in emitter.nodes for output in node.output}
    for result, tensor in zip(results, graph.outputs, strict=True):
        if result in own and result not in renamed:
            renamed[result] = tensor.name
        else:
            emitter.nodes.append(helper.make_node("Identity", [result], [tensor.name]))
    for node in emitter.nodes:
        for values in (node.input, node.output):
            for index, value in enumerate(values):
                values[index] = renamed.get(value, value)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_inside(attribute.g, renamed)


def _rename_inside(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    for node in graph.node:
        for index, value in enumerate(node.input):
            node.input[index] = renamed.get(value, value)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_inside(attribute.g, renamed)


class _GraphWriter:
    """Writes the nodes of one graph: the model's, or that of a branch or loop."""

    def __init__(self, emitter: Emitter, sizes: Sizes, values: dict[Tensor, str]) -> None:
        self._emitter = emitter
        self._sizes = sizes
        self._values = values

    def write(self, graph: Graph, inputs: Sequence[str]) -> list[str]:
        """Append the nodes; gives the names of the graph's outputs."""
        self._values.update(zip(graph.inputs, inputs, strict=True))
        for node in graph.nodes:
            self._translate(node)
        return [self._read(tensor) for tensor in graph.outputs]

    def _write_inner(self, graph: Graph, inputs: Sequence[str], emitter: Emitter) -> list[str]:
        sizes = self._sizes if emitter is self._emitter else self._sizes.fork(emitter)
        return _GraphWriter(emitter, sizes, dict(self._values)).write(graph, inputs)

    def _translate(self, node: Node) -> None:
        self._emitter.prefix = node.outputs[0].name
        call = Call(
            node=node,
            inputs=tuple(self._input(node, index) for index in range(len(node.inputs))),
            emitter=self._emitter,
            sizes=self._sizes,
            write_graph=self._write_inner,
        )
        made = TRANSLATIONS[node.op](call)
        names = [made] if isinstance(made, str) else made
        self._values.update(zip(node.outputs, names, strict=True))

    def _input(self, node: Node, index: int) -> str:
        """Its name; none where it is missing, or a weight that the translation stores in another order of axes."""
        tensor, constants = node.inputs[index], self._emitter.constants
        if tensor is None:
            return ""
        if tensor.constant is None or not reads_transposed(node, index):
            return self._read(tensor)
        return self._read(tensor) if constants.is_expected(tensor.constant) else ""

    def _read(self, tensor: Tensor) -> str:
        if tensor.constant is not None:
            return add_constant(self._emitter, tensor)
        return self._values[tensor]
