"""TFLite's own metadata, read by the text of its schema; and what stamping keeps of what was there."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import flatbuffers
import numpy as np
import pytest
from flatbuffers import encode, packer, table

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

from edgeconv.dims import DimExpr
from edgeconv.errors import InvalidInputError
from edgeconv.formats import tflite_stamp
from edgeconv.formats.tflite import HANDLER
from edgeconv.formats.tflite_file import write_tflite
from edgeconv.formats.tflite_metadata import STANDARD_NAME, pack_metadata, read_standard
from edgeconv.signature import Dim, DType, Signature, TensorSpec
from tests.conftest import Delivered

pytestmark = [pytest.mark.xdist_group("artifacts"), pytest.mark.filterwarnings("ignore")]

# Of https://github.com/google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs, without comments.
SCHEMA = """
table AssociatedFile { name:string; description:string; type:byte; locale:string; version:string; }
table TensorMetadata { name:string; description:string; dimension_names:[string]; content:Content;
  process_units:[ProcessUnit]; stats:Stats; associated_files:[AssociatedFile]; }
table SubGraphMetadata { name:string; description:string; input_tensor_metadata:[TensorMetadata];
  output_tensor_metadata:[TensorMetadata]; associated_files:[AssociatedFile];
  input_process_units:[ProcessUnit]; output_process_units:[ProcessUnit];
  input_tensor_groups:[TensorGroup]; output_tensor_groups:[TensorGroup];
  custom_metadata:[CustomMetadata]; }
table ModelMetadata { name:string; description:string; version:string;
  subgraph_metadata:[SubGraphMetadata]; author:string; license:string;
  associated_files:[AssociatedFile]; min_parser_version:string; }
"""
TABLES = {
    name: re.findall(r"(\w+):([\[\]\w]+);", body)
    for name, body in re.findall(r"table (\w+) \{(.*?)\}", SCHEMA, re.DOTALL)
}
AXIS_LABELS = 2
Decoded: TypeAlias = dict[str, Any]


def decode(content: bytes) -> Decoded:
    """The buffer as the schema says, fields that are not there left out."""
    assert content[4:8] == b"M001"
    return _decode(table.Table(content, encode.Get(packer.uoffset, content, 0)), "ModelMetadata")


def _decode(found: table.Table, name: str) -> Decoded:
    decoded: Decoded = {}
    for position, (field, kind) in enumerate(TABLES[name]):
        offset = found.Offset(4 + 2 * position)
        if not offset:
            continue
        if kind == "string":
            decoded[field] = found.String(offset + found.Pos).decode()
        elif kind == "byte":
            decoded[field] = encode.Get(packer.int8, found.Bytes, offset + found.Pos)
        else:
            start = found.Vector(offset)
            decoded[field] = [
                _decode(
                    table.Table(found.Bytes, found.Indirect(start + 4 * index)), kind.strip("[]")
                )
                for index in range(found.VectorLen(offset))
            ]
    return decoded


def _signature(classes: int = 3) -> Signature:
    batch = DimExpr.symbol("N")
    return Signature(
        inputs=(
            TensorSpec(name="tokens", dtype=DType.INT64, shape=(batch, 7)),
            TensorSpec(name="image", dtype=DType.FLOAT32, shape=(batch, 3)),
        ),
        outputs=(
            TensorSpec(name="best", dtype=DType.INT64, shape=(batch,)),
            TensorSpec(name="scores", dtype=DType.FLOAT32, shape=(batch, classes)),
        ),
        dims=(Dim(name="N", example=1),),
    )


def test_the_schema_reads_what_was_packed() -> None:
    metadata = {
        "author": "Ann",
        "description": "says what it does",
        "version": "7",
        "license": "MIT",
        "labels": "cat\ndog\nBär",
        "source_digest": "c0ffee",
    }
    labels = [{"name": "labels.txt", "description": "names of the classes", "type": AXIS_LABELS}]
    assert decode(pack_metadata("net", _signature(), metadata)) == {
        "name": "net",
        "author": "Ann",
        "description": "says what it does",
        "version": "7",
        "license": "MIT",
        "min_parser_version": "1.0.0",
        "subgraph_metadata": [
            {
                "input_tensor_metadata": [{"name": "tokens"}, {"name": "image"}],
                "output_tensor_metadata": [
                    {"name": "best"},
                    {"name": "scores", "associated_files": labels},
                ],
            }
        ],
    }


def test_labels_of_no_output_belong_to_the_model() -> None:
    found = decode(pack_metadata("net", _signature(4), {"labels": "cat\ndog"}))
    assert [file["name"] for file in found["associated_files"]] == ["labels.txt"]
    assert "associated_files" not in str(found["subgraph_metadata"])


def test_without_metadata_there_are_names_alone() -> None:
    found = decode(pack_metadata("net", _signature(), {}))
    assert found.keys() == {"name", "subgraph_metadata", "min_parser_version"}


def test_what_was_packed_is_read_back() -> None:
    metadata = {"author": "Ann", "description": "d", "version": "7", "license": "MIT"}
    packed = pack_metadata("net", _signature(), {**metadata, "labels": "a", "other": "b"})
    assert read_standard(packed) == {"name": "net", **metadata}


@pytest.mark.parametrize("content", [b"", b"M001", bytes(12), b"\xff" * 40])
def test_a_buffer_of_another_content_says_nothing(content: bytes) -> None:
    assert read_standard(content) == {}


@pytest.mark.parametrize(
    "content", [b"\xff" * 4 + b"M001", pack_metadata("net", _signature(), {})[:40]]
)
def test_a_damaged_buffer_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=STANDARD_NAME):
        read_standard(content)


def _entries(path: Path) -> dict[str, bytes]:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    return {e.name.decode(): bytes(model.buffers[e.buffer].data) for e in model.metadata}


@pytest.fixture
def lite(pair: Delivered, tmp_path: Path) -> Path:
    path = tmp_path / "pair.tflite"
    shutil.copyfile(pair.artifacts["tflite"].path, path)
    return path


def _add_entry(path: Path, name: str, content: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    model.metadata = [e for e in model.metadata if e.name.decode() != name]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


@pytest.mark.integration
@pytest.mark.slow
def test_a_delivered_file_has_it(pair: Delivered) -> None:
    path = pair.artifacts["tflite"].path
    found = decode(_entries(path)[STANDARD_NAME])
    assert found["name"] == "pair"
    assert found["author"] == pair.metadata["author"]
    assert found["license"] == pair.metadata["license"]
    graph = found["subgraph_metadata"][0]
    assert [t["name"] for t in graph["input_tensor_metadata"]] == ["tokens", "image"]
    assert [t["name"] for t in graph["output_tensor_metadata"]] == ["scores", "best"]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == ["cat", "dog", "Bär"]


@pytest.mark.integration
@pytest.mark.slow
def test_binary_entries_are_not_shown_as_text(lite: Path) -> None:
    _add_entry(lite, "CONVERSION_METADATA", bytes(range(32)))
    found = HANDLER.read_metadata(lite)
    assert "CONVERSION_METADATA" not in found
    assert STANDARD_NAME not in found
    assert all(text.replace("\n", "").isprintable() for text in found.values())


@pytest.mark.integration
@pytest.mark.slow
def test_the_metadata_of_another_tool_is_kept(lite: Path) -> None:
    signature = HANDLER.read_signature(lite)
    theirs = pack_metadata("theirs", _signature(), {"description": "normalizes images"})
    _add_entry(lite, STANDARD_NAME, theirs)
    _add_entry(lite, "edgeconv", b"")
    model = schema.ModelT.InitFromPackedBuf(lite.read_bytes())
    model.metadata = [e for e in model.metadata if e.name != b"edgeconv"]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    lite.write_bytes(builder.Output())
    with zipfile.ZipFile(lite, "a") as archive:
        archive.writestr("vocabulary.txt", "a\nb\n")
    HANDLER.stamp(lite, signature, {"author": "Ann", "labels": "x\ny"})
    assert _entries(lite)[STANDARD_NAME] == theirs
    assert HANDLER.read_metadata(lite)["author"] == "Ann"
    assert HANDLER.read_metadata(lite)["description"] == "normalizes images"
    with zipfile.ZipFile(lite) as archive:
        assert archive.read("vocabulary.txt") == b"a\nb\n"
        assert archive.read("labels.txt") == b"x\ny\n"


@pytest.mark.integration
@pytest.mark.slow
def test_stamping_again_replaces_what_was_stamped(lite: Path) -> None:
    signature = HANDLER.read_signature(lite)
    HANDLER.stamp(lite, signature, {"author": "Bob", "labels": "x"})
    found = HANDLER.read_metadata(lite)
    assert found["author"] == "Bob"
    assert "license" not in found
    assert decode(_entries(lite)[STANDARD_NAME])["author"] == "Bob"
    with zipfile.ZipFile(lite) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt") == b"x\n"


@pytest.mark.integration
@pytest.mark.slow
def test_a_large_files_metadata_is_read_where_it_stands(
    lite: Path, pair: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 2 GB all buffers, these too, stand outside of the flatbuffer; the limit is lowered to get there."""
    outside = partial(write_tflite, largest_flatbuffer=0)
    monkeypatch.setattr(tflite_stamp, "write_tflite", outside)
    signature, metadata = HANDLER.read_signature(lite), HANDLER.read_metadata(lite)
    HANDLER.stamp(lite, signature, metadata)
    model = schema.ModelT.InitFromPackedBuf(lite.read_bytes())
    assert all(buffer.data is None for buffer in model.buffers)
    assert HANDLER.read_signature(lite) == signature
    assert HANDLER.read_metadata(lite) == metadata
    inputs = {name: tensor.numpy() for name, tensor in pair.example.inputs.items()}
    with HANDLER.open(lite) as session:
        outputs = session.run(inputs).outputs
    wanted = pair.artifacts["tflite"].run(inputs)
    assert all(np.array_equal(outputs[name], wanted[name]) for name in wanted)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("content", [b"[]", b"{", b'{"signature": 3, "metadata": {}}'])
def test_a_damaged_record_is_told(lite: Path, content: bytes) -> None:
    _add_entry(lite, "edgeconv", content)
    for read in (HANDLER.read_signature, HANDLER.read_metadata):
        with pytest.raises(InvalidInputError, match="no intact TFLite"):
            read(lite)


@pytest.mark.integration
@pytest.mark.slow
def test_a_record_is_the_file_of_the_signature(lite: Path) -> None:
    record = json.loads(_entries(lite)["edgeconv"])
    assert Signature.from_json(record["signature"]) == HANDLER.read_signature(lite)
