"""Weights in 4 bits with a scale for each block, computed with in float32.

LiteRT's only kernel for blocks makes integers of the activations too; its DEQUANTIZE knows channels alone. So the matrix is
stored with a row for each block, whose scale is then that of a channel, and put back into shape behind the DEQUANTIZE.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.transformations.transformation_utils import pack_data
from numpy.typing import NDArray

from edgeconv_converters.ai_edge_quantizer.operators import tensor_name
from edgeconv_converters.ai_edge_quantizer.tables import (
    Graph,
    Tables,
    add_buffer,
    constant_of,
    find_or_add_code,
)

__all__ = ["store_blocks"]

_DEQUANTIZE_VERSION = 6
_LARGEST = 7
_LEAST_SCALE = 1e-9


def store_blocks(tables: Tables, blocks: dict[str, int]) -> None:
    """Store the weights of FULLY_CONNECTED operators in blocks.

    Args:
        tables: Changed in place.
        blocks: Weights in a block, by the operator's name.
    """
    graph = tables.subgraphs[0]
    added: list[Any] = []
    done: dict[tuple[int, int], int] = {}
    for operator in graph.operators:
        size = blocks.get(tensor_name(graph, operator.outputs[0]) if operator.outputs else "")
        if not size:
            continue
        key = (operator.inputs[1], size)
        if key not in done:
            done[key] = _store(tables, graph, *key, added)
        operator.inputs[1] = done[key]
    graph.operators = added + graph.operators


def _store(tables: Tables, graph: Graph, index: int, size: int, added: list[Any]) -> int:
    """The tensor that holds float32 weights of a matrix when the model runs."""
    matrix = graph.tensors[index]
    value = constant_of(tables, matrix)
    assert value is not None
    rows = value.astype(np.float32).reshape(-1, size)
    scales = np.maximum(np.abs(rows).max(axis=1) / _LARGEST, _LEAST_SCALE).astype(np.float32)
    whole = np.clip(np.rint(rows / scales[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    stored = _add(graph, matrix, b"/int4", list(rows.shape))
    tensor = graph.tensors[stored]
    tensor.type = schema.TensorType.INT4
    tensor.buffer = add_buffer(tables, pack_data(4, whole.view(np.uint8)))
    tensor.quantization = _scaled(scales)
    widened = _add(graph, matrix, b"/blocks", list(rows.shape))
    whole_again = _add(graph, matrix, b"/float32", list(value.shape))
    shape = _add(graph, matrix, b"/shape", [value.ndim])
    graph.tensors[shape].type = schema.TensorType.INT32
    graph.tensors[shape].buffer = add_buffer(tables, np.asarray(value.shape, np.int32))
    code = schema.BuiltinOperator
    added.append(_operator(tables, (code.DEQUANTIZE, _DEQUANTIZE_VERSION), [stored], widened))
    added.append(_operator(tables, (code.RESHAPE, 1), [widened, shape], whole_again))
    return whole_again


def _scaled(scales: NDArray[np.float32]) -> Any:  # noqa: ANN401 - untyped library
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.quantizedDimension = scales, 0
    quantization.zeroPoint = np.zeros(scales.size, np.int64)
    return quantization


def _add(graph: Graph, like: Any, suffix: bytes, shape: list[int]) -> int:  # noqa: ANN401
    tensor = copy.copy(like)
    tensor.name, tensor.shape, tensor.buffer = like.name + suffix, shape, 0
    tensor.quantization = None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(tables: Tables, code: tuple[int, int], inputs: list[int], output: int) -> Any:  # noqa: ANN401
    operator = schema.OperatorT()
    operator.opcodeIndex = find_or_add_code(tables, *code)
    operator.inputs, operator.outputs = inputs, [output]
    return operator
