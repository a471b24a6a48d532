"""ONNX files as other tools write them: names, types and bodies that edgeconv's own files do not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper

from edgeconv.errors import InvalidInputError
from edgeconv.formats.onnx import HANDLER, rename_values
from edgeconv.signature import DType, Signature, TensorSpec

pytestmark = [pytest.mark.integration]

BRANCHES = """
<ir_version: 8, opset_import: ["": 17], producer_name: "test">
net (float[N, 3] x, bool flag) => (float[N, 3] y, float[N, 3] z)
{
  y = Relu (x)
  z = If (flag) <
    then_branch = yes () => (float[N, 3] a) { a = Add (x, y) },
    else_branch = no () => (float[N, 3] b) { b = Sub (y, x) }
  >
}
"""


def _write(path: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def _signature(*names: str) -> Signature:
    specs = [TensorSpec(name=name, dtype=DType.FLOAT32, shape=(2, 3)) for name in names]
    return Signature(inputs=tuple(specs[:2]), outputs=tuple(specs[2:]))


def test_values_are_renamed_in_the_bodies_of_branches_too(tmp_path: Path) -> None:
    path = _write(tmp_path / "net.onnx", BRANCHES)
    x = np.array([[1, -2, 3]], np.float32)
    inputs = {"x": x, "flag": np.array(False)}
    with HANDLER.open(path) as session:
        before = session.run(inputs).outputs
    HANDLER.stamp(path, _signature("image", "mode", "left", "right"), {})
    onnx.checker.check_model(path, full_check=True)
    with HANDLER.open(path) as session:
        after = session.run({"image": x, "mode": np.array(False)}).outputs
    assert list(after) == ["left", "right"]
    assert np.array_equal(after["left"], before["y"])
    assert np.array_equal(after["right"], before["z"])


def test_names_can_be_exchanged(tmp_path: Path) -> None:
    path = _write(tmp_path / "net.onnx", BRANCHES)
    x = np.array([[1, -2, 3]], np.float32)
    HANDLER.stamp(path, _signature("flag", "x", "z", "y"), {})
    onnx.checker.check_model(path, full_check=True)
    with HANDLER.open(path) as session:
        after = session.run({"flag": x, "x": np.array(True)}).outputs
    assert np.array_equal(after["z"], np.maximum(x, 0))
    assert np.array_equal(after["y"], x + np.maximum(x, 0))


def test_an_inner_value_makes_room_for_a_name() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> '
        "net (float[2] x) => (float[2] y) { scores = Relu (x) \n y = Neg (scores) }"
    )
    spec = TensorSpec(name="scores", dtype=DType.FLOAT32, shape=(2,))
    signature = Signature(inputs=(replace_name(spec, "x"),), outputs=(spec,))
    rename_values(model, signature)
    onnx.checker.check_model(model)
    assert [value.name for value in model.graph.output] == ["scores"]


def replace_name(spec: TensorSpec, name: str) -> TensorSpec:
    return TensorSpec(name=name, dtype=spec.dtype, shape=spec.shape)


def test_dims_without_a_usable_name_get_one(tmp_path: Path) -> None:
    shape = ["batch size", None, 3, "N"]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "net", [value], [result])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, ir_version=8), path)
    signature = HANDLER.read_signature(path)
    assert str(signature.inputs[0]) == "x:float32[batch_size,x_1,3,N]"
    assert [dim.name for dim in signature.dims] == ["batch_size", "x_1", "N", "y_1"]


def test_a_type_that_is_no_tensor_of_numbers_is_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("text", TensorProto.STRING, [1])
    result = helper.make_tensor_value_info("same", TensorProto.STRING, [1])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["same"])], "net", [value], [result]
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, ir_version=8), path)
    with pytest.raises(InvalidInputError, match="'text' is of type string"):
        HANDLER.read_signature(path)


def test_weights_that_are_inputs_too_are_no_inputs(tmp_path: Path) -> None:
    """Old exporters list them."""
    text = (
        '<ir_version: 3, opset_import: ["": 9]> '
        "net (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Add (x, w) }"
    )
    path = _write(tmp_path / "net.onnx", text)
    assert [spec.name for spec in HANDLER.read_signature(path).inputs] == ["x"]


@pytest.mark.parametrize("record", ["", "{", "[]", '{"signature": {}, "metadata": {}}'])
def test_a_damaged_record_is_told(tmp_path: Path, record: str) -> None:
    model = onnx.parser.parse_model(BRANCHES)
    model.metadata_props.add(key="edgeconv.json", value=record)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    if not record:
        assert HANDLER.read_metadata(path) == {}
        return
    for read in (HANDLER.read_signature, HANDLER.read_metadata):
        with pytest.raises(InvalidInputError, match="no intact ONNX"):
            read(path)
