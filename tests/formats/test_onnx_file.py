"""ONNX files written and read without their weights in memory, against onnx and ONNX Runtime themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgeconv.errors import InvalidInputError
from edgeconv.formats.companion import companion
from edgeconv.formats.handler import Array
from edgeconv.formats.onnx import HANDLER, put_record
from edgeconv.formats.onnx_file import Weight, read_onnx, write_onnx
from edgeconv.signature import DType, Signature, TensorSpec

pytestmark = [pytest.mark.integration]

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=(1, 64)),),
    outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=(1, 64)),),
)


@dataclass(frozen=True)
class Held:
    """A weight in memory."""

    content: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def write_to(self, stream: IO[bytes]) -> None:
        stream.write(self.content)


def _whole() -> ModelProto:
    """A model with two large weights, and a small one between them."""
    generator = np.random.default_rng(0)
    arrays = {
        "first": generator.standard_normal((64, 64)).astype(np.float32),
        "small": np.array([1.5], np.float32),
        "second": generator.standard_normal((64, 64)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Mul", ["a", "small"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "y")]
    inner = helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 64])
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(
        nodes, "net", ends[:1], ends[1:], weights, doc_string="text", value_info=[inner]
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, ir_version=9, opset_imports=opset, producer_name="test")
    put_record(model, SIGNATURE, {"edgeconv_version": "1"})
    return model


def _apart(whole: ModelProto) -> tuple[ModelProto, list[Weight | None]]:
    model = ModelProto()
    model.CopyFrom(whole)
    weights: list[Weight | None] = []
    for tensor in model.graph.initializer:
        is_large = len(tensor.raw_data) > 1000
        weights.append(Held(tensor.raw_data) if is_large else None)
        if is_large:
            tensor.ClearField("raw_data")
    return model, weights


def _write(path: Path, *, limit: int = 2**31) -> ModelProto:
    whole = _whole()
    model, weights = _apart(whole)
    assert write_onnx(path, model, weights, largest_inline_bytes=limit) == (limit < 2**31)
    return whole


def _run(path: Path) -> Array:
    with HANDLER.open(path) as session:
        return session.run({"x": np.linspace(-1, 1, 64, dtype=np.float32)[None]}).outputs["y"]


def test_the_bytes_are_those_that_protobuf_writes(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    whole = _write(path)
    assert path.read_bytes() == whole.SerializeToString(deterministic=True)
    assert not companion(path).exists()


def test_a_file_is_read_without_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    whole = _write(path)
    wanted, weights = _apart(whole)
    model, found = read_onnx(path)
    assert model == wanted
    assert [w.size_bytes if w else None for w in found] == [
        w.size_bytes if w else None for w in weights
    ]
    again = tmp_path / "again.onnx"
    write_onnx(again, model, found)
    assert again.read_bytes() == path.read_bytes()


def test_what_is_too_large_for_one_file_is_two(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    whole = _write(path, limit=20_000)
    assert path.stat().st_size < 2_000
    assert b'"edgeconv_version"' in companion(path).read_bytes()[:4096]
    onnx.checker.check_model(path, full_check=True)
    loaded = onnx.load(path)
    for mine, right in zip(loaded.graph.initializer, whole.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(right))
    offsets = [
        int(entry.value)
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert len(offsets) == 2
    assert all(offset % 4096 == 0 for offset in offsets)


def test_both_forms_compute_the_same(tmp_path: Path) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    _write(one)
    _write(two, limit=20_000)
    assert np.array_equal(_run(one), _run(two))
    data = bytearray(companion(two).read_bytes())
    data[-1] ^= 0x40
    companion(two).write_bytes(data)
    assert not np.array_equal(_run(one), _run(two))


@pytest.mark.parametrize("limit", [2**31, 20_000])
def test_stamping_leaves_the_weights(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "net.onnx"
    _write(path, limit=limit)
    before = _run(path)
    HANDLER.stamp(path, SIGNATURE, {"author": "Ann"})
    assert HANDLER.read_metadata(path)["author"] == "Ann"
    assert np.array_equal(_run(path), before)
    assert companion(path).exists() == (limit < 2**31)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.75, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "net.onnx"
    _write(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidInputError, match="no intact ONNX file"):
        HANDLER.read_signature(path)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_weights_that_are_missing_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.onnx"
    _write(path, limit=20_000)
    second = companion(path)
    kept = second.read_bytes()[:9000]
    second.unlink()
    if damage == "cut":
        second.write_bytes(kept)
    assert HANDLER.read_signature(path).inputs == SIGNATURE.inputs
    with pytest.raises(InvalidInputError):
        HANDLER.open(path)


@pytest.mark.parametrize("content", [b"", b"\x0b\x00", b"\x08\xff" + b"\xff" * 20, b"\x3a\x7f\x00"])
def test_bytes_that_are_no_protocol_buffer_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        read_onnx(path)


def _sizes(weights: Sequence[Weight | None]) -> list[int]:
    return [weight.size_bytes if weight else 0 for weight in weights]


def test_the_weights_of_an_exported_model_are_taken_out() -> None:
    ir = pytest.importorskip("onnx_ir")
    from edgeconv.formats.onnx_checking import check_model
    from edgeconv_converters.torch_onnx.weights import take_weights

    whole = _whole()
    wanted, expected = _apart(whole)
    model, weights = take_weights(ir.serde.deserialize_model(whole))
    assert _sizes(weights) == _sizes(expected)
    assert [t.name for t in model.graph.initializer] == [t.name for t in wanted.graph.initializer]
    assert model.ByteSize() < 2_000
    check_model(model, weights)
    model.graph.node[0].op_type = "NoSuchOperator"
    from edgeconv.errors import ConversionError

    with pytest.raises(ConversionError, match=r"onnx.checker refuses"):
        check_model(model, weights)
