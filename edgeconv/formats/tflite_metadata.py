"""TFLite's own metadata: what the model is, what its tensors are called, and the labels of its classes.

Android Studio, MediaPipe and ML Kit read it: a flatbuffer of the schema `metadata_schema.fbs` of TensorFlow Lite
Support, in a buffer of the name TFLITE_METADATA; labels are a text file in a zip archive behind the model. No package
that is kept up brings the schema, and it is small: tables are written and read here by the positions of their fields.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.formats.tflite_file import pack_offsets
from edgeconv.signature import Signature, TensorSpec

__all__ = [
    "LABELS_FILE",
    "STANDARD_NAME",
    "append_labels",
    "copy_files",
    "pack_metadata",
    "read_standard",
]

STANDARD_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"

_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
# Positions of fields in their tables; all are as many as the table has.
_MODEL = {"name": 0, "description": 1, "version": 2, "author": 4, "license": 5}
_MODEL_SUBGRAPHS, _MODEL_FILES, _MODEL_PARSER, _MODEL_FIELDS = 3, 6, 7, 8
_GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_FIELDS = 2, 3, 10
_TENSOR_NAME, _TENSOR_FILES, _TENSOR_FIELDS = 0, 6, 7
_FILE_NAME, _FILE_DESCRIPTION, _FILE_TYPE, _FILE_FIELDS = 0, 1, 2, 5
_DESCRIPTIONS, _AXIS_LABELS = 1, 2


def pack_metadata(name: str, signature: Signature, metadata: Mapping[str, str]) -> bytes:
    """The content of the buffer.

    Args:
        name: The model's name.
        signature: Its inputs and outputs, in the order of the file's.
        metadata: `description`, `version`, `author`, `license` are stored as such; `labels`, one a line, belong
            to the first output with as many values on its last axis.
    """
    import flatbuffers

    builder = flatbuffers.Builder()
    labelled = _find_labelled(signature, metadata.get("labels", ""))
    inputs = pack_offsets(builder, [_pack_tensor(builder, spec) for spec in signature.inputs])
    outputs = pack_offsets(
        builder,
        [_pack_tensor(builder, spec, has_labels=spec is labelled) for spec in signature.outputs],
    )
    graph = _pack_table(builder, _GRAPH_FIELDS, {_GRAPH_INPUTS: inputs, _GRAPH_OUTPUTS: outputs})
    fields = {_MODEL_SUBGRAPHS: pack_offsets(builder, [graph])}
    if labelled is None and metadata.get("labels"):
        fields[_MODEL_FILES] = pack_offsets(builder, [_pack_file(builder, _DESCRIPTIONS)])
    for key, text in {**metadata, "name": name}.items():
        if key in _MODEL and text:
            fields[_MODEL[key]] = builder.CreateString(text)
    fields[_MODEL_PARSER] = builder.CreateString(_PARSER_VERSION)
    builder.Finish(_pack_table(builder, _MODEL_FIELDS, fields), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def append_labels(path: Path, metadata: Mapping[str, str]) -> None:
    """Put the labels, if there are any, into an archive behind the model."""
    labels = metadata.get("labels")
    if labels:
        _append(path, {LABELS_FILE: f"{labels}\n".encode()})


def copy_files(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Put behind `target` the files that are behind `source`, and the labels in the metadata in place of older ones."""
    try:
        with zipfile.ZipFile(source) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        files = {}  # most files have no archive, and one that is damaged is of no use
    if metadata.get("labels"):
        files.pop(LABELS_FILE, None)
    _append(target, files)
    append_labels(target, metadata)


def _append(path: Path, files: Mapping[str, bytes]) -> None:
    if not files:
        return
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in files.items():
            # Without the time of day, so that the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), content)


def read_standard(content: bytes) -> dict[str, str]:
    """Name, description, version, author and license, as far as the buffer has them; nothing of another content.

    Raises:
        ValueError: It is damaged.
    """
    from flatbuffers import encode, packer, table

    if content[4:8] != _IDENTIFIER:
        return {}
    try:
        root = table.Table(content, encode.Get(packer.uoffset, content, 0))
        found: dict[str, str] = {}
        for key, field in _MODEL.items():
            offset = root.Offset(4 + 2 * field)
            if offset:
                found[key] = root.String(offset + root.Pos).decode()
    except (struct.error, IndexError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"its {STANDARD_NAME} is damaged: {error}") from error
    return found


def _find_labelled(signature: Signature, labels: str) -> TensorSpec | None:
    count = len(labels.splitlines())
    return next((s for s in signature.outputs if count and s.shape[-1:] == (count,)), None)


def _pack_tensor(builder: Any, spec: TensorSpec, *, has_labels: bool = False) -> int:  # noqa: ANN401 - untyped library
    fields = {_TENSOR_NAME: builder.CreateString(spec.name)}
    if has_labels:
        fields[_TENSOR_FILES] = pack_offsets(builder, [_pack_file(builder, _AXIS_LABELS)])
    return _pack_table(builder, _TENSOR_FIELDS, fields)


def _pack_file(builder: Any, kind: int) -> int:  # noqa: ANN401
    name = builder.CreateString(LABELS_FILE)
    description = builder.CreateString("names of the classes")
    builder.StartObject(_FILE_FIELDS)
    builder.PrependUOffsetTRelativeSlot(_FILE_NAME, name, 0)
    builder.PrependUOffsetTRelativeSlot(_FILE_DESCRIPTION, description, 0)
    builder.PrependInt8Slot(_FILE_TYPE, kind, 0)
    return int(builder.EndObject())


def _pack_table(builder: Any, count: int, fields: Mapping[int, int]) -> int:  # noqa: ANN401
    builder.StartObject(count)
    for field, offset in sorted(fields.items()):
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    return int(builder.EndObject())
