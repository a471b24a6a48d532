"""A TFLite file's tables as Python objects, and what is asked of them most: names, dtypes, constants, copies.

The classes are those of LiteRT's schema, which are untyped; weights are `StoredBuffer`, views of the file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeconv.formats.tflite_file import StoredBuffer, write_tflite
from edgeconv.formats.tflite_metadata import copy_files

__all__ = [
    "Array",
    "Graph",
    "Tables",
    "Tensor",
    "add_buffer",
    "code_of",
    "constant_of",
    "copy_tables",
    "find_or_add_code",
    "name_tensors",
    "present",
    "write_tables",
]

Array: TypeAlias = NDArray[np.generic]
Tables: TypeAlias = Any  # ModelT
Graph: TypeAlias = Any  # SubGraphT
Tensor: TypeAlias = Any  # TensorT

_LAST_DEPRECATED_CODE = 127
_CODES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT64: np.float64,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.BOOL: np.bool_,
}


def code_of(tables: Tables, operator: Any) -> str:  # noqa: ANN401 - untyped library
    """The name of an operator, `CONV_2D`; of a custom one the name it was given."""
    code = tables.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return str(bytes(code.customCode or b""), errors="replace")
    return str(_CODES.get(number, f"UNKNOWN_{number}"))


def find_or_add_code(tables: Tables, number: int, version: int) -> int:
    """The index of the operator code with a version."""
    for index, code in enumerate(tables.operatorCodes):
        if code.builtinCode == number and code.version == version and not code.customCode:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = number, version
    code.deprecatedBuiltinCode = min(number, _LAST_DEPRECATED_CODE)
    tables.operatorCodes.append(code)
    return len(tables.operatorCodes) - 1


def present(indices: Iterable[int]) -> Iterator[int]:
    """Tensors that are there: a missing optional one is -1."""
    return (int(index) for index in indices if index >= 0)


def constant_of(tables: Tables, tensor: Tensor) -> Array | None:
    """The value of a constant as a view; None for an activation, a sparse one, or a dtype that NumPy does not have."""
    data = tables.buffers[tensor.buffer].data
    dtype = _DTYPES.get(tensor.type)
    if data is None or dtype is None or tensor.sparsity is not None:
        return None
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    flat: Array = np.ascontiguousarray(data).reshape(-1).view(np.uint8).view(dtype)
    return flat.reshape(shape)


def add_buffer(tables: Tables, array: Array) -> int:
    """Append the bytes of an array; the index of the buffer."""
    tables.buffers.append(StoredBuffer(np.ascontiguousarray(array)))
    return len(tables.buffers) - 1


def copy_tables(tables: Tables) -> Tables:
    """Tables of their own, which can be changed; weights are shared until they are replaced."""
    twin = copy.copy(tables)
    twin.operatorCodes = [copy.copy(code) for code in tables.operatorCodes]
    twin.buffers = [StoredBuffer(buffer.data) for buffer in tables.buffers]
    twin.metadata = list(tables.metadata or [])
    twin.subgraphs = [_copy_graph(graph) for graph in tables.subgraphs]
    twin.signatureDefs = [_copy_definition(d) for d in tables.signatureDefs or []]
    return twin


def _copy_graph(graph: Graph) -> Graph:
    twin = copy.copy(graph)
    twin.tensors = [copy.copy(tensor) for tensor in graph.tensors]
    twin.operators = [copy.copy(operator) for operator in graph.operators or []]
    for operator in twin.operators:
        operator.inputs = [int(i) for i in _listed(operator.inputs)]
        operator.outputs = [int(i) for i in _listed(operator.outputs)]
    twin.inputs = [int(i) for i in _listed(graph.inputs)]
    twin.outputs = [int(i) for i in _listed(graph.outputs)]
    return twin


def _copy_definition(definition: Any) -> Any:  # noqa: ANN401 - untyped library
    twin = copy.copy(definition)
    twin.inputs = [copy.copy(entry) for entry in definition.inputs or []]
    twin.outputs = [copy.copy(entry) for entry in definition.outputs or []]
    return twin


def _listed(indices: Any) -> Any:  # noqa: ANN401 - an array, a list, or nothing
    return () if indices is None else indices


def write_tables(tables: Tables, path: Path, source: Path) -> None:
    """Write a file with what stands behind the tables in another, such as labels.

    What was at `path` before is unlinked, not overwritten: weights may still be views of it, and a runtime may have it open.

    Raises:
        OSError: It cannot be written; what was written of it stays for the caller to remove.
    """
    path.unlink(missing_ok=True)
    write_tflite(path, tables.Pack, tables.buffers)
    copy_files(source, path, {})


def name_tensors(tables: Tables, ends: Mapping[int, str]) -> None:
    """Give every tensor a name that no other in the file has, as ai-edge-quantizer needs it; first come keep theirs.

    Args:
        tables: Changed in place.
        ends: What inputs and outputs of the main graph are to be called, by tensor.
    """
    taken = {name.encode() for name in ends.values()}
    for number, graph in enumerate(tables.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            if number == 0 and index in ends:
                tensor.name = ends[index].encode()
                continue
            name = tensor.name or b""
            name = name.encode() if isinstance(name, str) else bytes(name)
            if not name or name in taken:
                name += f"/{number}:{index}".encode()
            while name in taken:
                name += b"'"
            taken.add(name)
            tensor.name = name
