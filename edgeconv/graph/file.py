"""The edge graph as a file: one safetensors file, the graph as JSON in its metadata, the constants as its tensors.

The file is memory-mapped when read, needs no framework, runs no code, and any safetensors tool lists it. It is
written here and not with the library's `save_file`, which holds a second copy of all weights; the library still
checks every file that is read. Layout: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgeconv.dims import DimExpr, Size, parse_size
from edgeconv.errors import InvalidInputError
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.graph.check import check_graph
from edgeconv.graph.model import Attribute, Constant, Graph, GraphError, Node, Source, Tensor
from edgeconv.graph.quantization import Quantization
from edgeconv.signature import Dim, DType

__all__ = ["is_edge_graph", "read_graph", "read_metadata", "write_graph"]

_KEY = "edgeconv.graph"
_ALIGNMENT_BYTES = 64
_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def write_graph(graph: Graph, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a graph, constants that share an array once; one constant at a time is made contiguous.

    Raises:
        OSError: The file cannot be written; what was written of it stays for the caller to remove.
    """
    arrays = _Arrays()
    encoded = _encode_graph(graph, arrays)
    stored = sorted(arrays.by_key.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, object] = {"__metadata__": {**(metadata or {}), _KEY: json.dumps(encoded)}}
    offset = 0
    for key, array in stored:
        header[key] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT_BYTES)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for _, array in stored:
            stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


class _Arrays:
    """The arrays of a file under the names of their tensors, which are unique within one graph only."""

    def __init__(self) -> None:
        self.by_key: dict[str, Constant] = {}
        self._keys: dict[int, str] = {}

    def add(self, name: str, array: Constant) -> str:
        """The key of an array, which is stored once."""
        if id(array) not in self._keys:
            key, count = name, 0
            while key in self.by_key:
                count += 1
                key = f"{name}_{count}"
            self.by_key[key] = array
            self._keys[id(array)] = key
        return self._keys[id(array)]


def _encode_graph(graph: Graph, arrays: _Arrays) -> dict[str, object]:
    made = [tensor for node in graph.nodes for tensor in node.outputs]
    tensors = list(dict.fromkeys([*graph.inputs, *graph.constants(), *made]))
    index = {tensor: position for position, tensor in enumerate(tensors)}
    return {
        "name": graph.name,
        "dims": [dim.to_json() for dim in graph.dims],
        "tensors": [_encode_tensor(tensor, arrays) for tensor in tensors],
        "inputs": [index[tensor] for tensor in graph.inputs],
        "outputs": [index[tensor] for tensor in graph.outputs],
        "nodes": [_encode_node(node, index, arrays) for node in graph.nodes],
    }


def _encode_tensor(tensor: Tensor, arrays: _Arrays) -> dict[str, object]:
    data: dict[str, object] = {
        "name": tensor.name,
        "dtype": tensor.dtype.value,
        "shape": [_encode_size(size) for size in tensor.shape],
    }
    if tensor.constant is not None:
        data["constant"] = arrays.add(tensor.name, tensor.constant)
    if tensor.source:
        data["source"] = _encode_source(tensor.source)
    if tensor.quantization:
        data["quantization"] = _encode_quantization(tensor.quantization)
    return data


def _encode_quantization(quantization: Quantization) -> dict[str, object]:
    return {
        "dtype": quantization.dtype.value,
        "scales": list(quantization.scales),
        "zero_points": list(quantization.zero_points),
        "axis": quantization.axis,
    }


def _encode_source(source: Source) -> list[str]:
    return [source.node, source.module, source.line]


def _encode_size(size: Size) -> int | str:
    return str(size) if isinstance(size, DimExpr) else size


def _encode_node(node: Node, index: Mapping[Tensor, int], arrays: _Arrays) -> dict[str, object]:
    data: dict[str, object] = {
        "op": node.op,
        "inputs": [None if tensor is None else index[tensor] for tensor in node.inputs],
        "outputs": [index[tensor] for tensor in node.outputs],
        "attributes": {k: _encode_attribute(v, arrays) for k, v in node.attributes.items()},
    }
    if node.source:
        data["source"] = _encode_source(node.source)
    return data


def _encode_attribute(value: Attribute, arrays: _Arrays) -> object:
    if isinstance(value, Graph):
        return {"graph": _encode_graph(value, arrays)}
    if isinstance(value, tuple):
        return [_encode_size(size) for size in value]
    return value


def is_edge_graph(path: Path) -> bool:
    """Whether a safetensors file holds an edge graph.

    Raises:
        InvalidInputError: It is no intact safetensors file.
    """
    return _KEY in _read_header(path)[0].get("__metadata__", {})


def read_metadata(path: Path) -> dict[str, str]:
    """What was stored beside the graph.

    Raises:
        InvalidInputError: It is no intact safetensors file.
    """
    stored = _read_header(path)[0].get("__metadata__", {})
    return {key: value for key, value in stored.items() if key != _KEY}


def read_graph(path: Path) -> Graph:
    """Read a graph; its constants are views of the memory-mapped file.

    Raises:
        InvalidInputError: The file is damaged, or no edge graph, or the graph in it is malformed.
    """
    header, start = _read_header(path)
    text = header.pop("__metadata__", {}).get(_KEY)
    if text is None:
        raise InvalidInputError(
            f"'{path}' is no edge graph", why="it holds tensors without a graph"
        )
    data = np.memmap(path, dtype=np.uint8, mode="r")
    try:
        constants = {key: _read_array(data, start, entry) for key, entry in header.items()}
        graph = _decode_graph(json.loads(text), constants)
        check_graph(graph)
    except (GraphError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InvalidInputError(
            f"'{path}' holds a malformed edge graph", why=str(error), hint="convert the model again"
        ) from error
    return graph


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # checks the header, all offsets, and the length
            pass
    except (SafetensorError, OSError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact safetensors file", why=str(error), hint="fetch it again"
        ) from error
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(length)), 8 + length


def _read_array(data: np.memmap[Any, Any], start: int, entry: dict[str, Any]) -> Constant:
    names = {code: name for name, code in _CODES.items()}
    name = names[entry["dtype"]]
    begin, end = entry["data_offsets"]
    raw = data[start + begin : start + end]
    return cast("Constant", raw.view(numpy_dtype(DType(name))).reshape(entry["shape"]))


def _decode_graph(data: dict[str, Any], constants: Mapping[str, Constant]) -> Graph:
    tensors = [_decode_tensor(item, constants) for item in data["tensors"]]
    return Graph(
        name=data["name"],
        inputs=[tensors[i] for i in data["inputs"]],
        outputs=[tensors[i] for i in data["outputs"]],
        nodes=[_decode_node(item, tensors, constants) for item in data["nodes"]],
        dims=tuple(Dim(**dim) for dim in data["dims"]),
    )


def _decode_tensor(data: dict[str, Any], constants: Mapping[str, Constant]) -> Tensor:
    key = data.get("constant")
    return Tensor(
        name=data["name"],
        dtype=DType(data["dtype"]),
        shape=tuple(_decode_size(size) for size in data["shape"]),
        constant=None if key is None else constants[key],
        source=_decode_source(data),
        quantization=_decode_quantization(data.get("quantization")),
    )


def _decode_quantization(data: dict[str, Any] | None) -> Quantization | None:
    if data is None:
        return None
    return Quantization(
        dtype=DType(data["dtype"]),
        scales=tuple(float(scale) for scale in data["scales"]),
        zero_points=tuple(int(point) for point in data["zero_points"]),
        axis=data["axis"],
    )


def _decode_source(data: dict[str, Any]) -> Source | None:
    if "source" not in data:
        return None
    node, module, line = data["source"]
    return Source(node=node, module=module, line=line)


def _decode_size(size: int | str) -> Size:
    return parse_size(size) if isinstance(size, str) else size


def _decode_node(
    data: dict[str, Any], tensors: list[Tensor], constants: Mapping[str, Constant]
) -> Node:
    return Node(
        op=data["op"],
        inputs=[None if i is None else tensors[i] for i in data["inputs"]],
        outputs=[tensors[i] for i in data["outputs"]],
        attributes={k: _decode_attribute(v, constants) for k, v in data["attributes"].items()},
        source=_decode_source(data),
    )


def _decode_attribute(value: object, constants: Mapping[str, Constant]) -> Attribute:
    if isinstance(value, dict):
        return _decode_graph(value["graph"], constants)
    if isinstance(value, list):
        return tuple(_decode_size(size) for size in value)
    return cast("Attribute", value)
