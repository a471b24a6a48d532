"""Reads and writes ONNX files without a copy of the weights in memory.

A protocol buffer is built, parsed and serialized as a whole, so a library that does so holds the weights two or three
times, and none can be larger than 2 GB. Here the weights stay out of it: reading gives the model without their bytes and
says where in the file they stand, writing takes the model without them and puts them in their place, byte for byte what
protobuf itself writes. A file that would be too large has its weights in a second file beside it, as ONNX's external
data. Source: protobuf's encoding, https://protobuf.dev/programming-guides/encoding, and onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from edgeconv.formats.companion import companion
from edgeconv.formats.protobuf_wire import (
    LENGTH,
    Field,
    encode_field,
    encode_head,
    encode_message,
    read_fields,
)

__all__ = [
    "DATA_FILE_NOTE",
    "LARGEST_INLINE_BYTES",
    "MappedWeight",
    "Weight",
    "read_onnx",
    "write_onnx",
]

LARGEST_INLINE_BYTES = 2**31 - 2**20
"""A file with more bytes keeps its weights outside: protobuf ends at 2 GB."""

DATA_FILE_NOTE = "the model is larger than 2 GB: its weights are in a second file beside it, '.onnx.data', which must stay there"
_SMALLEST_WEIGHT_BYTES = 1024
_ALIGNMENT_BYTES = 4096
# Numbers of fields in onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW = 7, 5, 9
_EXTERNAL = 1


class Weight(Protocol):
    """The bytes of one initializer, little-endian."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        ...

    def write_to(self, stream: IO[bytes]) -> None:
        """Write them."""
        ...


@dataclass(frozen=True, slots=True)
class MappedWeight:
    """Bytes that stand in a file which is mapped into memory."""

    content: mmap.mmap
    start: int
    size_bytes: int

    def write_to(self, stream: IO[bytes]) -> None:
        """Write them, without a copy."""
        with memoryview(self.content) as view:
            stream.write(view[self.start : self.start + self.size_bytes])


def read_onnx(path: Path) -> tuple[Any, list[Weight | None]]:
    """A model without the bytes of its large initializers, and where in the file these stand.

    Returns:
        The `ModelProto`, and for each initializer of its graph the bytes that were left out, or None.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged; also protobuf's DecodeError is one.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    if not path.stat().st_size:
        raise ValueError("the file is empty")
    with path.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    weights: list[Weight | None] = []
    kept = _without_weights(content, weights)
    try:
        return ModelProto.FromString(kept), weights
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _without_weights(content: mmap.mmap, weights: list[Weight | None]) -> bytes:
    parts = []
    for number, kind, start, end in read_fields(content, 0, len(content)):
        if (number, kind) != (_MODEL_GRAPH, LENGTH):
            parts.append(encode_field(content, number, kind, start, end))
            continue
        inner = []
        for field in read_fields(content, start, end):
            if field[:2] == (_GRAPH_INITIALIZER, LENGTH):
                inner.append(encode_message(field[0], _without_raw(content, field, weights)))
            else:
                inner.append(encode_field(content, *field))
        parts.append(encode_message(number, b"".join(inner)))
    return b"".join(parts)


def _without_raw(content: mmap.mmap, tensor: Field, weights: list[Weight | None]) -> bytes:
    left_out: Weight | None = None
    parts = []
    for number, kind, start, end in read_fields(content, tensor[2], tensor[3]):
        if (number, kind) == (_TENSOR_RAW, LENGTH) and end - start >= _SMALLEST_WEIGHT_BYTES:
            left_out = MappedWeight(content, start, end - start)
        else:
            parts.append(encode_field(content, number, kind, start, end))
    weights.append(left_out)
    return b"".join(parts)


def write_onnx(
    path: Path,
    model: Any,  # noqa: ANN401 - a protocol buffer
    weights: Sequence[Weight | None],
    *,
    largest_inline_bytes: int = LARGEST_INLINE_BYTES,
) -> bool:
    """Write a model; the same model and weights give the same bytes.

    Args:
        path: Where to; what is there is overwritten.
        model: The `ModelProto`; an initializer whose weight is given must hold no bytes of its own. Of a file that
            becomes too large the initializers are changed to say where their bytes are.
        weights: For each initializer of the graph its bytes, or None where it holds them itself.
        largest_inline_bytes: A file that would have more keeps its weights in a second file, `<path>.data`.

    Returns:
        Whether there is a second file.

    Raises:
        OSError: A file cannot be written; what was written stays for the caller to remove.
    """
    given = [weight for weight in weights if weight is not None]
    total: int = model.ByteSize() + sum(weight.size_bytes + 16 for weight in given)
    is_large = total > largest_inline_bytes
    if is_large:
        _write_outside(companion(path), model, weights)
        weights = [None] * len(weights)
    with path.open("wb") as stream:
        _write_model(stream, model, weights)
    return is_large


def _write_outside(path: Path, model: Any, weights: Sequence[Weight | None]) -> None:  # noqa: ANN401
    """Write the weights one behind the other, each on a page of its own, as runtimes that map them into memory need."""
    with path.open("wb") as stream:
        # What tells that edgeconv made the file: the metadata of the model beside it.
        stream.write(_record_of(model))
        for tensor, weight in zip(model.graph.initializer, weights, strict=True):
            if weight is None:
                continue
            stream.write(b"\0" * (-stream.tell() % _ALIGNMENT_BYTES))
            place = {"location": path.name, "offset": stream.tell(), "length": weight.size_bytes}
            del tensor.external_data[:]
            tensor.data_location = _EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            weight.write_to(stream)


def _record_of(model: Any) -> bytes:  # noqa: ANN401
    return "\n".join(entry.value for entry in model.metadata_props).encode()


def _write_model(stream: IO[bytes], model: Any, weights: Sequence[Weight | None]) -> None:  # noqa: ANN401
    """Write the fields in the order of their numbers, as protobuf does."""
    from onnx import GraphProto, ModelProto

    outer, graph = ModelProto(), GraphProto()
    outer.CopyFrom(model)
    graph.CopyFrom(model.graph)
    outer.ClearField("graph")
    graph.ClearField("initializer")
    before, after = _split(outer.SerializeToString(deterministic=True), _MODEL_GRAPH)
    first, last = _split(graph.SerializeToString(deterministic=True), _GRAPH_INITIALIZER)
    tensors = [_Tensor(t, w) for t, w in zip(model.graph.initializer, weights, strict=True)]
    size = len(first) + sum(tensor.field_bytes for tensor in tensors) + len(last)
    stream.write(before + encode_head(_MODEL_GRAPH, size) + first)
    for tensor in tensors:
        tensor.write_to(stream)
    stream.write(last + after)


class _Tensor:
    """An initializer as it will stand in the file."""

    def __init__(self, tensor: Any, weight: Weight | None) -> None:  # noqa: ANN401
        content = tensor.SerializeToString(deterministic=True)
        self._weight = weight
        self._before, self._after = content, b""
        size = len(content)
        if weight is not None:
            self._before, self._after = _split(content, _TENSOR_RAW)
            self._before += encode_head(_TENSOR_RAW, weight.size_bytes)
            size = len(self._before) + weight.size_bytes + len(self._after)
        self._head = encode_head(_GRAPH_INITIALIZER, size)
        self.field_bytes = len(self._head) + size

    def write_to(self, stream: IO[bytes]) -> None:
        stream.write(self._head + self._before)
        if self._weight is not None:
            self._weight.write_to(stream)
        stream.write(self._after)


def _split(content: bytes, number: int) -> tuple[bytes, bytes]:
    """A serialized message before and after the place of a field, which it has not."""
    for field, _, start, _ in read_fields(content, 0, len(content), should_include_head=True):
        if field > number:
            return content[:start], content[start:]
    return content, b""
