"""The constants of a graph as TensorFlow values: large ones variables, in the order of axes TensorFlow wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from edgeconv.graph import Graph, Node, Tensor
from edgeconv_converters.edge_graph_savedmodel.call import Arrangement, Translation

__all__ = ["Value", "Weights", "scope_name"]

_MIN_VARIABLE_ELEMENTS = 16
_Key: TypeAlias = tuple[int, str, tuple[int, ...]]
Value: TypeAlias = "tf.Variable | tf.Tensor"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A value, and the array it is made from: the array's identity is the key, so it must stay alive."""

    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    value: Value


def scope_name(name: str) -> str:
    """A name that TensorFlow takes at the top of a graph."""
    safe = re.sub(r"[^A-Za-z0-9_.\-/]", "_", name)
    return safe if safe[:1].isalnum() else f"n{safe}"


class Weights:
    """Makes each constant once, also where several operators read it, and takes no further copy of it.

    Args:
        graph: Whose constants are made, those of loops included.
        table: Says in which order of axes an operator takes them.
    """

    def __init__(self, graph: Graph, table: Mapping[str, Translation]) -> None:
        self.variables: dict[str, tf.Variable] = {}
        self._table = table
        self._values: dict[_Key, _Kept] = {}
        self._by_use: dict[tuple[Node | None, int | Tensor], Value] = {}
        for part in (graph, *graph.subgraphs()):
            self._add_graph(part)

    def read(self, node: Node, index: int) -> Value:
        """The constant that is input `index` of a node, arranged."""
        return self._by_use[node, index]

    def read_output(self, tensor: Tensor) -> Value:
        """A constant that a graph returns, as it is."""
        return self._by_use[None, tensor]

    def _add_graph(self, graph: Graph) -> None:
        for node in graph.nodes:
            for index, tensor in enumerate(node.inputs):
                if tensor is not None and tensor.is_constant:
                    self._by_use[node, index] = self._make(tensor, node, index)
        for tensor in graph.outputs:
            if tensor.is_constant:
                self._by_use[None, tensor] = self._make(tensor, None, 0)

    def _make(self, tensor: Tensor, node: Node | None, index: int) -> Value:
        array = tensor.constant
        if array is None:
            raise ValueError(f"{tensor!r} is no constant")
        arranged, order = array, ""
        arrange = self._arrangement(node, index)
        if node is not None and arrange is not None:
            arranged, order = arrange(node, array, np), arrange.__name__
        key = (id(array), order, arranged.shape)
        if key not in self._values:
            self._values[key] = _Kept(array, self._value(tensor.name, arranged))
        return self._values[key].value

    def _arrangement(self, node: Node | None, index: int) -> Arrangement | None:
        return None if node is None else self._table[node.op].arrange.get(index)

    def _value(self, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Value:
        if array.size < _MIN_VARIABLE_ELEMENTS:
            return tf.constant(array)
        name = wish = scope_name(name)
        count = 0
        while name in self.variables:
            count += 1
            name = f"{wish}_{count}"
        # A tensor made first is taken over by the variable; an array would be copied into the graph.
        variable = tf.Variable(tf.convert_to_tensor(array), trainable=False, name=name)
        self.variables[name] = variable
        return variable
