"""Adds operators to a TFLite graph that compute a vector of sizes from the sizes of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeconv_converters.litert_torch.tables import Array, find_code, put_constant

__all__ = ["SizeArithmetic", "Term"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How much a vector grows with one size.

    Attributes:
        input: Index of an input of the graph.
        axis: Its axis whose size is meant.
        base: The size that belongs to the vector as it is.
        factors: By how much each element grows when the size grows by one.
    """

    input: int
    axis: int
    base: int
    factors: Array


class SizeArithmetic:
    """Writes the operators of one graph; they come first, since they need nothing but the inputs.

    Args:
        model: The tables of the file.
        graph: The subgraph.
    """

    def __init__(self, model: Any, graph: Any) -> None:  # noqa: ANN401 - untyped library
        self._model = model
        self._graph = graph
        self._operators: list[Any] = []
        self._sizes: dict[tuple[int, int], int] = {}

    def compute(self, index: int, values: Array, terms: list[Term]) -> None:
        """Make the constant at `index`, a vector of int32 or int64, a result of the sizes."""
        put_constant(self._model, self._graph.tensors[index], None)
        total = self._add(values.astype(np.int32), terms)
        self._emit("CAST", [total], output=index)

    def cut(self, index: int, table: Array, shape: Array, terms: list[Term]) -> None:
        """Make the constant at `index` the beginning of a larger table, as large as the sizes say."""
        tensor = self._graph.tensors[index]
        whole = self._constant(table, tensor.type)
        begin = self._constant(np.zeros(table.ndim, np.int32))
        size = self._add(shape.astype(np.int32), terms)
        put_constant(self._model, tensor, None)
        tensor.shapeSignature = [-1] * table.ndim
        self._emit("SLICE", [whole, begin, size], output=index)

    def _add(self, values: NDArray[np.int32], terms: list[Term]) -> int:
        """The vector, grown by what the sizes are besides those that belong to it."""
        factors = [term.factors.astype(np.int32) for term in terms]
        bases = [np.int32(term.base) for term in terms]
        fixed = values - sum(f * base for f, base in zip(factors, bases, strict=True))
        total = self._constant(fixed.astype(np.int32))
        for term, factor in zip(terms, factors, strict=True):
            grown = self._emit("MUL", [self._size(term.input, term.axis), self._constant(factor)])
            total = self._emit("ADD", [total, grown])
        return total

    def finish(self) -> None:
        """Put the operators into the graph."""
        self._graph.operators[:0] = self._operators
        self._operators = []

    def _size(self, position: int, axis: int) -> int:
        """A vector of one element, the size of an input's axis."""
        key = (position, axis)
        if key not in self._sizes:
            shape = self._emit("SHAPE", [int(self._graph.inputs[position])])
            begin, size = (self._constant(np.array([v], np.int32)) for v in (axis, 1))
            self._sizes[key] = self._emit("SLICE", [shape, begin, size])
        return self._sizes[key]

    def _constant(self, values: Array, dtype: int = schema.TensorType.INT32) -> int:
        index = self._tensor(list(values.shape))
        self._graph.tensors[index].type = dtype
        put_constant(self._model, self._graph.tensors[index], np.ascontiguousarray(values))
        return index

    def _tensor(self, shape: list[int]) -> int:
        tensor = schema.TensorT()
        index = len(self._graph.tensors)
        tensor.type, tensor.shape, tensor.buffer = schema.TensorType.INT32, shape, 0
        tensor.name, tensor.hasRank = f"size_{index}", True
        self._graph.tensors.append(tensor)
        return index

    def _emit(self, name: str, inputs: list[int], *, output: int | None = None) -> int:
        operator = schema.OperatorT()
        operator.opcodeIndex = find_code(self._model, name)
        if output is None:
            output = self._tensor(self._result_shape(name, inputs))
        operator.inputs, operator.outputs = inputs, [output]
        options = getattr(schema, f"{name.title()}OptionsT")()
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{name.title()}Options")
        if name == "SHAPE":
            options.outType = schema.TensorType.INT32
        if name == "CAST":
            options.inDataType = schema.TensorType.INT32
            options.outDataType = self._graph.tensors[output].type
        operator.builtinOptions = options
        self._operators.append(operator)
        return output

    def _result_shape(self, name: str, inputs: list[int]) -> list[int]:
        first, *others = (list(self._graph.tensors[index].shape) for index in inputs)
        if name == "SHAPE":
            return [len(first)]
        if name == "SLICE":
            return [1]
        return max(first, *others) if others else first
