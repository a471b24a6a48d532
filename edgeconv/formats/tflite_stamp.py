"""Gives a TFLite file that another tool wrote the names and the metadata it must have."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgeconv.errors import InvalidInputError
from edgeconv.formats.record import write_record
from edgeconv.formats.tflite_file import METADATA_NAME, StoredBuffer, write_tflite
from edgeconv.formats.tflite_metadata import STANDARD_NAME, copy_files, pack_metadata
from edgeconv.formats.tflite_model import SIGNATURE_KEY, read_model
from edgeconv.signature import Signature

__all__ = ["pack_model", "stamp_model", "store_entry", "unpack_model"]

_NUMBERED = re.compile(r"(.*?)_?(\d+)")


def stamp_model(path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
    """Rename a file's inputs and outputs, put them into the signature's order, and store metadata.

    The file is rewritten aside and replaced; on failure it is as it was.

    Raises:
        InvalidInputError: It is no intact TFLite file, or has another number of inputs or outputs.
        OSError: It cannot be rewritten.
    """
    from ai_edge_litert import schema_py_generated as schema

    declared = read_model(path)
    inputs = _match(path, "inputs", declared.inputs, [spec.name for spec in signature.inputs])
    outputs = _match(path, "outputs", declared.outputs, [spec.name for spec in signature.outputs])
    model = unpack_model(path)
    _rename(model, inputs, outputs, schema)
    store_entry(model, METADATA_NAME, write_record(signature, metadata).encode())
    if METADATA_NAME in declared.metadata or not declared.has_standard_metadata:
        # What another tool wrote there, such as how images are normalized, is more than edgeconv knows.
        name = path.name.removesuffix(".tflite")
        store_entry(model, STANDARD_NAME, pack_metadata(name, signature, metadata))
    pack_model(model, path, metadata)


def unpack_model(path: Path) -> Any:  # noqa: ANN401 - untyped library
    """The tables of a file as the schema's objects; weights are views of the file, as `StoredBuffer`.

    Raises:
        OSError: It cannot be read.
    """
    from ai_edge_litert import schema_py_generated as schema

    with path.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.buffers = [_take_out(buffer, content) for buffer in model.buffers]
    return model


def pack_model(
    model: Any,  # noqa: ANN401 - untyped library
    path: Path,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write what `unpack_model` read; aside first, so that `path` is as it was on failure.

    Args:
        model: The tables.
        path: The file they came from.
        metadata: What stands in files beside the tables, such as labels.

    Raises:
        OSError: It cannot be written.
    """
    aside = path.with_name(f".{path.name}.stamping")
    try:
        write_tflite(aside, model.Pack, model.buffers)
        copy_files(path, aside, metadata)
        os.replace(aside, path)  # noqa: PTH105 - one call, atomic
    finally:
        aside.unlink(missing_ok=True)


def _match(
    path: Path, what: str, found: Sequence[tuple[str, int]], wanted: Sequence[str]
) -> list[tuple[str, int]]:
    """Wanted name and tensor index: by name where the names are the same, else by position.

    A tool's own numbered names, `args_0`, `args_1`, …, tell the position; otherwise the file's order does.
    """
    if len(found) != len(wanted):
        raise InvalidInputError(
            f"'{path}' cannot be given its names",
            why=f"it has {len(found)} {what}, not {len(wanted)}: {[name for name, _ in found]}",
        )
    by_name = dict(found)
    if by_name.keys() == set(wanted):
        return [(name, by_name[name]) for name in wanted]
    numbers = [_NUMBERED.fullmatch(name) for name, _ in found]
    stems = {match.group(1) for match in numbers if match}
    if all(numbers) and len(stems) == 1:
        found = sorted(found, key=lambda item: int(item[0].rpartition("_")[2]))
    return [(name, index) for name, (_, index) in zip(wanted, found, strict=True)]


def _rename(
    model: Any,  # noqa: ANN401 - untyped library
    inputs: list[tuple[str, int]],
    outputs: list[tuple[str, int]],
    schema: Any,  # noqa: ANN401
) -> None:
    graph = model.subgraphs[0]
    ends = {index: name for name, index in reversed([*inputs, *outputs])}
    taken = set(ends.values())
    for index, tensor in enumerate(graph.tensors):
        name = _as_text(tensor.name)
        if index in ends:
            tensor.name = ends[index]
        elif name in taken:
            tensor.name = f"{name}/inner"
    graph.inputs = [index for _, index in inputs]
    graph.outputs = [index for _, index in outputs]
    definition = schema.SignatureDefT()
    definition.signatureKey = SIGNATURE_KEY
    definition.inputs = [_tensor_map(schema, *item) for item in inputs]
    definition.outputs = [_tensor_map(schema, *item) for item in outputs]
    definition.subgraphIndex = 0
    others = [d for d in model.signatureDefs or [] if d.subgraphIndex != 0]
    model.signatureDefs = [definition, *others]


def _tensor_map(schema: Any, name: str, index: int) -> Any:  # noqa: ANN401
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def _as_text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def _take_out(buffer: Any, content: mmap.mmap) -> StoredBuffer:  # noqa: ANN401
    """A buffer's bytes as a view of the file, wherever they stand in it."""
    import numpy as np

    if buffer.offset > 1:
        return StoredBuffer(np.frombuffer(content, np.uint8, buffer.size, buffer.offset))
    data = buffer.data
    return StoredBuffer(None if data is None else np.asarray(data, dtype=np.uint8))


def store_entry(model: Any, name: str, content: bytes) -> None:  # noqa: ANN401
    """Add a metadata entry, or give the one of this name new content.

    Args:
        model: Tables of `unpack_model`.
        name: The entry's name.
        content: What it holds from then on.
    """
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    data = np.frombuffer(content, np.uint8)
    model.metadata = model.metadata or []
    entry = next((m for m in model.metadata if _as_text(m.name) == name), None)
    if entry is not None:
        model.buffers[entry.buffer] = StoredBuffer(data)
        return
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(StoredBuffer(data))
    model.metadata.append(entry)
