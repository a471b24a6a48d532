"""Translates a graph into TensorFlow operators, node by node, while TensorFlow traces a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from edgeconv.graph import Graph, Node, Tensor
from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation
from edgeconv_converters.edge_graph_savedmodel.sizes import Sizes
from edgeconv_converters.edge_graph_savedmodel.weights import Value, Weights, scope_name

__all__ = ["Program"]


class Program:
    """One traced function: the graph itself, or the body or condition of a loop.

    Args:
        weights: Constants, made before tracing began.
        sizes: Evaluates sizes within this function.
        table: Translations by operator.
    """

    def __init__(self, weights: Weights, sizes: Sizes, table: Mapping[str, Translation]) -> None:
        self._weights = weights
        self._sizes = sizes
        self._table = table
        self._values: dict[Tensor, tf.Tensor] = {}
        self._read: dict[int, tf.Tensor] = {}

    def run(self, graph: Graph, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Translate a graph; `inputs` are its inputs, and its outputs come back."""
        self._values.update(zip(graph.inputs, inputs, strict=True))
        for node in graph.nodes:
            self._translate(node)
        return [self._output(tensor) for tensor in graph.outputs]

    def _run_inner(self, graph: Graph, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        inner = Program(self._weights, self._sizes.fork(), self._table)
        inner._values = dict(self._values)
        inner._read = dict(self._read)
        return inner.run(graph, inputs)

    def _translate(self, node: Node) -> None:
        translation = self._table[node.op]
        with tf.name_scope(scope_name(node.outputs[0].name)):
            call = Call(
                node=node,
                inputs=tuple(self._input(node, i, translation) for i in range(len(node.inputs))),
                sizes=self._sizes,
                run_graph=self._run_inner,
            )
            made = translation.emit(call)
        values = list(made) if isinstance(made, list | tuple) else [made]
        for tensor, value in zip(node.outputs, values, strict=True):
            _declare_shape(value, tensor)
            self._values[tensor] = value

    def _input(self, node: Node, index: int, translation: Translation) -> tf.Tensor | None:
        tensor = node.inputs[index]
        if tensor is None:
            return None
        if tensor.is_constant:
            return self._value_of(self._weights.read(node, index))
        value = self._values[tensor]
        arrange = translation.arrange.get(index)
        return value if arrange is None else arrange(node, value, tf)

    def _output(self, tensor: Tensor) -> tf.Tensor:
        if tensor.is_constant:
            return self._value_of(self._weights.read_output(tensor))
        return self._values[tensor]

    def _value_of(self, value: Value) -> tf.Tensor:
        """The value inside this function: a variable is read once."""
        if not isinstance(value, tf.Variable):
            return value
        if id(value) not in self._read:
            self._read[id(value)] = tf.convert_to_tensor(value)
        return self._read[id(value)]


def _declare_shape(value: tf.Tensor, tensor: Tensor) -> None:
    """Tell TensorFlow the static sizes it could not infer itself."""
    if not value.shape.is_fully_defined():
        value.set_shape([size if isinstance(size, int) else None for size in tensor.shape])
