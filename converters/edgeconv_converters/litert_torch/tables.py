"""Reads and writes single things in the tables of a TFLite file: operators, constants, the outline of a whole file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeconv.formats.tflite_file import StoredBuffer

__all__ = [
    "Array",
    "find_code",
    "operator_name",
    "outline",
    "put_constant",
    "read_constant",
    "shape_of",
]

Array = NDArray[np.generic]

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_DTYPES: Mapping[int, np.dtype[np.generic]] = MappingProxyType(
    {
        schema.TensorType.FLOAT16: np.dtype(np.float16),
        schema.TensorType.FLOAT32: np.dtype(np.float32),
        schema.TensorType.FLOAT64: np.dtype(np.float64),
        schema.TensorType.INT8: np.dtype(np.int8),
        schema.TensorType.INT16: np.dtype(np.int16),
        schema.TensorType.INT32: np.dtype(np.int32),
        schema.TensorType.INT64: np.dtype(np.int64),
        schema.TensorType.UINT8: np.dtype(np.uint8),
        schema.TensorType.BOOL: np.dtype(np.bool_),
    }
)
# Codes above this did not exist when the older field was all there was.
_LARGEST_OLD_CODE = 127


def operator_name(model: Any, operator: Any) -> str:  # noqa: ANN401 - untyped library
    """The name of an operator, such as `RESHAPE`."""
    code = model.operatorCodes[operator.opcodeIndex]
    name = _NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "UNKNOWN")
    return str(name)


def shape_of(tensor: Any) -> list[int]:  # noqa: ANN401 - untyped library
    """The sizes of a tensor; none for a scalar."""
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def find_code(model: Any, name: str) -> int:  # noqa: ANN401 - untyped library
    """The index of an operator's first version in the table of operator codes, which gets it if it lacks it."""
    number = getattr(schema.BuiltinOperator, name)
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == number and code.version == 1 and not code.customCode:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = number, 1
    code.deprecatedBuiltinCode = min(number, _LARGEST_OLD_CODE)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def read_constant(model: Any, tensor: Any) -> Array | None:  # noqa: ANN401 - untyped library
    """The values of a constant, flat bytes where NumPy has no such type; None for what is computed."""
    buffer = model.buffers[tensor.buffer]
    if not buffer.size_bytes:
        return None
    dtype = _DTYPES.get(tensor.type)
    if dtype is None:
        return np.frombuffer(buffer.content(), np.uint8)
    return np.frombuffer(buffer.content(), dtype).reshape(shape_of(tensor))


def put_constant(model: Any, tensor: Any, values: Array | None) -> None:  # noqa: ANN401 - untyped library
    """Give a tensor other values, or none, in a buffer of its own: the old one may have other readers."""
    model.buffers.append(StoredBuffer(values))
    tensor.buffer = len(model.buffers) - 1
    if values is not None:
        tensor.shape = list(values.shape)


def outline(model: Any) -> list[object]:  # noqa: ANN401 - untyped library
    """What must be the same in two files that hold the same program: operators, their options, and what they read."""
    return [
        [
            [len(shape_of(tensor)) for tensor in graph.tensors],
            [
                (
                    operator_name(model, operator),
                    _plain(operator.inputs),
                    _plain(operator.outputs),
                    _plain(operator.builtinOptions),
                    _plain(operator.builtinOptions2),
                    _plain(operator.customOptions),
                )
                for operator in graph.operators
            ],
        ]
        for graph in model.subgraphs
    ]


def _plain(value: object) -> object:
    """Options as data that compares by value."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {key: _plain(item) for key, item in vars(value).items()}
    return value
