"""What is read and prepared of an ONNX file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import numpy_helper

from edgeconv.errors import InvalidInputError
from edgeconv_converters.onnxruntime_quantization.worker import open_model
from tests.converters.onnxruntime_quantization.texts import (
    NETWORK,
    build,
    draw,
    draw_inputs,
    open_text,
    quantize,
    snr_db,
    write,
)

pytestmark = [pytest.mark.integration]

_NORMALIZED = """
normalized (float[N,3,4,4] x, float[4,3,1,1] w1, float[4] w_scale, float[4] w_shift, float[4] w_mean, float[4] w_spread)
  => (float[N,4,4,4] y) {
    conv = Conv (x, w1)
    normal = BatchNormalization (conv, w_scale, w_shift, w_mean, w_spread)
    same = Identity (normal)
    y = Relu (same)
  }
"""


def test_batch_normalization_goes_into_the_convolution(tmp_path: Path) -> None:
    given = {"w_spread": np.abs(draw(4)) + 0.5}
    path = write(build(_NORMALIZED, given=given), tmp_path)
    model = open_model(path)
    assert [operator.code for operator in model.operators] == ["Conv", "Relu"]
    inputs = draw_inputs(model)
    wanted = onnx.reference.ReferenceEvaluator(str(path)).run(None, dict(inputs))[0]
    np.testing.assert_allclose(model.observe(inputs)["y"], wanted, rtol=1e-4, atol=1e-5)


def test_a_saved_model_is_the_one_that_was_opened(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    model.save(tmp_path / "saved.onnx")
    again = open_model(tmp_path / "saved.onnx")
    inputs = draw_inputs(model)
    assert again.signature == model.signature
    np.testing.assert_array_equal(again.observe(inputs)["logits"], model.observe(inputs)["logits"])
    properties = {e.key: e.value for e in onnx.load(tmp_path / "saved.onnx").metadata_props}
    assert properties["author"] == "Ann Example"


def test_opening_changes_no_file(tmp_path: Path) -> None:
    path = write(build(NETWORK), tmp_path)
    before = path.read_bytes()
    open_model(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    model = build(NETWORK)
    path = tmp_path / "large.onnx"
    onnx.save(model, path, save_as_external_data=True, location="large.weights", size_threshold=0)
    assert open_model(path).constant("w1") is not None
    (tmp_path / "large.weights").unlink()
    with pytest.raises(InvalidInputError, match="cannot be read as a whole"):
        open_model(path)


def test_weights_listed_among_the_inputs_are_constants(tmp_path: Path) -> None:
    model = open_model(write(build(NETWORK, ir_version=3, opset=13), tmp_path))
    assert [spec.name for spec in model.signature.inputs] == ["image"]
    assert model.constant("w1") is not None
    quantize(model, tmp_path / "q.onnx")


def test_a_mean_over_the_image_is_pooling(tmp_path: Path) -> None:
    text = """
    means (float[N,4,6,6] x) => (float[N,4] y, float[N,4,1,1] z, float[N,4,6] other) {
        y = ReduceMean <axes = [2, 3], keepdims = 0> (x)
        z = ReduceMean <axes = [-1, -2], keepdims = 1> (x)
        other = ReduceMean <axes = [3], keepdims = 0> (x)
    }
    """
    model = open_text(text, tmp_path)
    codes = sorted(operator.code for operator in model.operators)
    assert codes == ["Flatten", "GlobalAveragePool", "GlobalAveragePool", "ReduceMean"]
    inputs = draw_inputs(model)
    seen = model.observe(inputs)
    np.testing.assert_allclose(seen["y"], inputs["x"].mean((2, 3)), rtol=1e-4, atol=1e-6)
    assert seen["z"].shape == (4, 4, 1, 1)


def test_names_that_look_like_the_librarys_own_do_no_harm(tmp_path: Path) -> None:
    text = """
    named (float[N,4] x, float[4] w) => (float[N,4] y) {
        z = Sigmoid (x)
        y = Mul (z, w)
    }
    """
    model = build(text)
    model.graph.initializer[0].name = "z_scale"
    model.graph.node[1].input[1] = "z_scale"
    opened = open_model(write(model, tmp_path))
    quantize(opened, tmp_path / "q.onnx")
    inputs = draw_inputs(opened)
    got = opened.observe_quantized(tmp_path / "q.onnx", inputs)["y"]
    assert snr_db(opened.observe(inputs)["y"], got) > 30


@pytest.mark.parametrize("shape", [(1, 5), (1,), ()])
def test_any_row_of_biases_is_one_for_each_channel(shape: tuple[int, ...], tmp_path: Path) -> None:
    text = "g (float[N,4] x, float[4,5] w1, float[5] w2) => (float[N,5] y) { y = Gemm (x, w1, w2) }"
    model = build(text)
    bias = draw(*shape, seed=7)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "w2"))
    opened = open_model(write(model, tmp_path))
    (weights,) = [operator.weights for operator in opened.operators]
    assert weights is not None
    np.testing.assert_array_equal(
        opened.constant(weights.bias), np.broadcast_to(bias.reshape(-1), (5,))
    )


def test_a_quantized_file_is_refused(tmp_path: Path) -> None:
    quantize(open_text(NETWORK, tmp_path), tmp_path / "q.onnx")
    with pytest.raises(InvalidInputError, match="quantized already") as caught:
        open_model(tmp_path / "q.onnx")
    assert "QuantizeLinear" in caught.value.why


def test_half_precision_is_refused(tmp_path: Path) -> None:
    text = (
        "h (float16[N,4] x, float16[4,5] weights) => (float16[N,5] y) { y = MatMul (x, weights) }"
    )
    model = build(text.replace("float16[4,5] weights", "float16[4,5] half"))
    half = numpy_helper.from_array(draw(4, 5).astype(np.float16), "half")
    model.graph.node[0].input[1] = "half"
    del model.graph.input[1:]
    model.graph.initializer.append(half)
    with pytest.raises(InvalidInputError, match="half precision"):
        open_model(write(model, tmp_path))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08\x3a\x7f"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError):
        open_model(path)


def test_an_operator_that_no_one_knows_is_refused(tmp_path: Path) -> None:
    model = build("u (float[N,4] x) => (float[N,4] y) { y = com.example.Unknown (x) }")
    model.opset_import.add(domain="com.example", version=1)
    with pytest.raises(InvalidInputError, match="ONNX Runtime refuses"):
        open_model(write(model, tmp_path))


def test_bodies_of_branches_stay_float_and_it_is_said(tmp_path: Path) -> None:
    text = """
    branch (float[2,4] x, bool c, float[4,4] w1) => (float[2,4] y) {
        z = MatMul (x, w1)
        y = If (c) <
            then_branch = yes () => (float[2,4] a) { a = Relu (z) },
            else_branch = no () => (float[2,4] b) { b = Neg (z) }
        >
    }
    """
    model = open_text(text, tmp_path)
    x, c = draw(2, 4), np.array(True)
    inputs = {"x": x, "c": c}
    from edgeconv.plugin.quantizer import Range

    ranges = {
        name: Range(low=float(v.min()), high=float(v.max()))
        for name, v in model.observe(inputs).items()
    }
    made = quantize(model, tmp_path / "q.onnx", ranges=ranges)
    assert any("If" in warning for warning in made.warnings)
    got = model.observe_quantized(tmp_path / "q.onnx", inputs)
    assert snr_db(model.observe(inputs)["y"], got["y"]) > 30
