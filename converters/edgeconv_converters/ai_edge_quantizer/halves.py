"""Stores float32 constants in half precision, with a DEQUANTIZE in front of each, as TFLiteConverter does.

ai-edge-quantizer casts the weights of five operators and leaves biases, tables and the weights of all others as they
are; here every constant is cast. Delegates for half precision read it as it is, others get float32 from DEQUANTIZE.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv_converters.ai_edge_quantizer.operators import tensor_name
from edgeconv_converters.ai_edge_quantizer.tables import (
    Array,
    Graph,
    Tables,
    add_buffer,
    constant_of,
    find_or_add_code,
)

__all__ = ["is_half_worthy", "store_halves"]

_LEAST_VALUES = 32
"""A constant of fewer values is not worth an operator."""

_DEQUANTIZE_VERSION = 3
_LARGEST = float(np.finfo(np.float16).max)
_FLOAT = schema.TensorType.FLOAT32


def is_half_worthy(value: Array) -> bool:
    """Whether a float32 constant is stored in half precision: it is not tiny, and its values are in range."""
    return value.size >= _LEAST_VALUES and float(np.abs(value).max()) <= _LARGEST


def store_halves(tables: Tables, operators: Collection[str]) -> frozenset[str]:
    """Cast the constants of operators; the names of those that had any.

    Args:
        tables: Changed in place.
        operators: By the name of their first output.
    """
    graph = tables.subgraphs[0]
    readers = defaultdict(list)
    for operator in graph.operators:
        for index in dict.fromkeys(operator.inputs):
            readers[index].append(operator)
    done: set[str] = set()
    casts: list[Any] = []
    for index, reading in readers.items():
        chosen = [r for r in reading if _name(graph, r) in operators]
        if index < 0 or not chosen or not _is_castable(tables, graph, index):
            continue
        is_only = len(chosen) == len(reading) and index not in graph.outputs
        casts.append(_cast(tables, graph, index, chosen, is_only=is_only))
        done.update(_name(graph, operator) for operator in chosen)
    graph.operators = casts + graph.operators
    return frozenset(done)


def _name(graph: Graph, operator: Any) -> str:  # noqa: ANN401 - untyped library
    return tensor_name(graph, operator.outputs[0]) if operator.outputs else ""


def _is_castable(tables: Tables, graph: Graph, index: int) -> bool:
    tensor = graph.tensors[index]
    value = constant_of(tables, tensor) if tensor.type == _FLOAT else None
    return value is not None and is_half_worthy(value)


def _cast(tables: Tables, graph: Graph, index: int, readers: list[Any], *, is_only: bool) -> Any:  # noqa: ANN401 - untyped library
    """The operator that makes float32 of a constant, which its readers read from then on."""
    import copy

    wide = graph.tensors[index]
    half = copy.copy(wide)
    value = constant_of(tables, wide)
    assert value is not None
    half.type, half.name = schema.TensorType.FLOAT16, wide.name + b"/float16"
    half.buffer = add_buffer(tables, value.astype(np.float16))
    graph.tensors.append(half)
    source = len(graph.tensors) - 1
    target = index
    if not is_only:
        wide = copy.copy(wide)
        wide.name += b"/float32"
        graph.tensors.append(wide)
        target = len(graph.tensors) - 1
        for operator in readers:
            operator.inputs = [target if i == index else i for i in operator.inputs]
    wide.buffer = 0
    cast = schema.OperatorT()
    number = schema.BuiltinOperator.DEQUANTIZE
    cast.opcodeIndex = find_or_add_code(tables, number, _DEQUANTIZE_VERSION)
    cast.inputs, cast.outputs = [source], [target]
    return cast
