"""Inputs and outputs of uint8: a QUANTIZE beside each that is int8.

ai-edge-quantizer would cast them in one step, and LiteRT has no kernel for the step from int16 to uint8.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv_converters.ai_edge_quantizer.tables import Graph, Tables, find_or_add_code

__all__ = ["make_ends_unsigned"]

_INT8 = schema.TensorType.INT8
_OFFSET = 128


def make_ends_unsigned(tables: Tables) -> None:
    """Give the main graph uint8 where it takes or gives int8."""
    graph = tables.subgraphs[0]
    for position, index in enumerate(graph.inputs):
        if graph.tensors[index].type == _INT8:
            graph.inputs[position] = _add_end(graph, index)
            graph.operators.insert(0, _cast(tables, graph.inputs[position], index))
    for position, index in enumerate(graph.outputs):
        if graph.tensors[index].type == _INT8:
            graph.outputs[position] = _add_end(graph, index)
            graph.operators.append(_cast(tables, index, graph.outputs[position]))


def _add_end(graph: Graph, index: int) -> int:
    """A uint8 tensor of the same values."""
    end = copy.copy(graph.tensors[index])
    end.type, end.buffer = schema.TensorType.UINT8, 0
    end.name += b"_unsigned"
    end.quantization = copy.copy(end.quantization)
    end.quantization.zeroPoint = np.asarray(end.quantization.zeroPoint) + _OFFSET
    graph.tensors.append(end)
    return len(graph.tensors) - 1


def _cast(tables: Tables, source: int, target: int) -> Any:  # noqa: ANN401 - untyped library
    cast = schema.OperatorT()
    cast.opcodeIndex = find_or_add_code(tables, schema.BuiltinOperator.QUANTIZE, 1)
    cast.inputs, cast.outputs = [source], [target]
    return cast
