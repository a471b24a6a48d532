"""Weights stored as integers where ai-edge-quantizer stores none: computed with in float32, behind a DEQUANTIZE.

- The tables that GATHER reads, with a scale for each row.
- Matrices of FULLY_CONNECTED in 4 bits with a scale for each block. LiteRT's only kernel for blocks makes integers of the
  activations too, and its DEQUANTIZE knows channels alone. So the matrix has a row for each block, whose scale is then
  that of a channel, and is put back into shape behind the DEQUANTIZE.

LiteRT dequantizes a constant once, when the model runs first.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.transformations.transformation_utils import pack_data
from numpy.typing import NDArray

from edgeconv.plugin.quantizer import Precision
from edgeconv_converters.ai_edge_quantizer.operators import tensor_name
from edgeconv_converters.ai_edge_quantizer.tables import (
    Graph,
    Tables,
    add_buffer,
    code_of,
    constant_of,
    find_or_add_code,
)

__all__ = ["is_stored_here", "precision_stored", "store_weights"]

_LARGEST = {4: 7, 8: 127}
_LEAST_SCALE = 1e-9
_TYPES = {4: schema.TensorType.INT4, 8: schema.TensorType.INT8}
_POSITIONS = {"FULLY_CONNECTED": 1, "GATHER": 0}


def is_stored_here(code: str, precision: Precision) -> bool:
    """Whether the weights of an operator are stored here, not by ai-edge-quantizer."""
    if precision.is_static or not precision.weights.startswith("int"):
        return False
    is_block = bool(precision.block) and not precision.is_dynamic
    return code == "GATHER" or (code == "FULLY_CONNECTED" and is_block)


def precision_stored(code: str, wanted: Precision) -> Precision:
    """What the weights are stored in: a table has a scale for each row, whatever the blocks of matrices are.

    Put back into shape from blocks, all of it would be copied each time a few rows are looked up.
    """
    return replace(wanted, is_dynamic=False, block=0 if code == "GATHER" else wanted.block)


def store_weights(tables: Tables, precisions: Mapping[str, Precision]) -> None:
    """Store the weights of operators.

    Args:
        tables: Changed in place.
        precisions: Of each operator, by name.
    """
    graph = tables.subgraphs[0]
    store = _Store(tables=tables, graph=graph)
    for operator in graph.operators:
        name = tensor_name(graph, operator.outputs[0]) if operator.outputs else ""
        if name in precisions:
            precision, position = precisions[name], _POSITIONS[code_of(tables, operator)]
            bits = int(precision.weights.removeprefix("int"))
            operator.inputs[position] = store.put(operator.inputs[position], bits, precision.block)
    graph.operators = store.added + graph.operators


@dataclass(slots=True, kw_only=True)
class _Store:
    """Tensors that were stored, and the operators that give them back."""

    tables: Tables
    graph: Graph
    added: list[Any] = field(default_factory=list)
    done: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def put(self, index: int, bits: int, block: int) -> int:
        """The tensor that holds a constant in float32 when the model runs."""
        key = (index, bits, block)
        if key not in self.done:
            self.done[key] = self._put(*key)
        return self.done[key]

    def _put(self, index: int, bits: int, block: int) -> int:
        like = self.graph.tensors[index]
        value = constant_of(self.tables, like)
        assert value is not None
        rows = value.astype(np.float32).reshape(-1, block or value.shape[-1])
        stored = self._add_integers(like, rows, bits)
        code = schema.BuiltinOperator
        wide = self._add(like, b"/dequantized", rows.shape)
        self._apply(code.DEQUANTIZE, [stored], wide)
        if rows.shape == value.shape:
            return wide
        shape = self._add(like, b"/shape", (value.ndim,))
        self.graph.tensors[shape].type = schema.TensorType.INT32
        sizes = np.asarray(value.shape, np.int32)
        self.graph.tensors[shape].buffer = add_buffer(self.tables, sizes)
        whole = self._add(like, b"/whole", value.shape)
        self._apply(code.RESHAPE, [wide, shape], whole)
        return whole

    def _add_integers(self, like: Any, rows: NDArray[np.float32], bits: int) -> int:  # noqa: ANN401 - untyped library
        largest = _LARGEST[bits]
        scales = np.maximum(np.abs(rows).max(axis=1) / largest, _LEAST_SCALE).astype(np.float32)
        whole = np.clip(np.rint(rows / scales[:, None]), -largest, largest).astype(np.int8)
        index = self._add(like, b"/int%d" % bits, rows.shape)
        tensor = self.graph.tensors[index]
        tensor.type = _TYPES[bits]
        tensor.buffer = add_buffer(self.tables, pack_data(bits, whole.view(np.uint8)))
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.quantizedDimension = scales, 0
        tensor.quantization.zeroPoint = np.zeros(scales.size, np.int64)
        return index

    def _add(self, like: Any, suffix: bytes, shape: tuple[int, ...]) -> int:  # noqa: ANN401 - untyped library
        tensor = copy.copy(like)
        tensor.name, tensor.shape, tensor.buffer = like.name + suffix, list(shape), 0
        tensor.quantization = None
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _apply(self, number: int, inputs: list[int], output: int) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = find_or_add_code(self.tables, number, 1)
        operator.inputs, operator.outputs = inputs, [output]
        self.added.append(operator)
