"""Integer inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime

from edgeconv.errors import ConversionError
from edgeconv.formats import load_handler
from edgeconv.plugin.quantizer import FLOAT32, Precision, Range
from edgeconv.quantization.recipes import RECIPES
from edgeconv.signature import DType
from tests.converters.onnxruntime_quantization.texts import (
    INT8,
    NETWORK,
    assert_near,
    draw_inputs,
    fused_operators,
    measure_ranges,
    node_types,
    open_text,
    quantize,
    snr_db,
)

pytestmark = [pytest.mark.integration]

_IO = pytest.mark.parametrize("io", [DType.INT8, DType.UINT8])
_INT16 = Precision(weights="int8", activations="int16")


@_IO
@pytest.mark.parametrize("precision", [INT8, _INT16], ids=["int8", "int16x8"])
def test_integers_in_and_out(io: DType, precision: Precision, tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    path = tmp_path / "q.onnx"
    quantize(model, path, precision, io=io)
    handler = load_handler("onnx")
    signature = handler.read_signature(path)
    assert {spec.dtype for spec in (*signature.inputs, *signature.outputs)} == {io}
    assert [spec.name for spec in signature.outputs] == ["logits", "scores"]
    scales = json.loads(handler.read_metadata(path)["edgeconv.io_quantization"])
    assert sorted(scales) == ["image", "logits", "scores"]

    inputs, of_image = draw_inputs(model), scales["image"]
    limits = np.iinfo(io.value)
    steps = np.rint(inputs["image"] / of_image["scale"]) + of_image["zero_point"]
    image = np.clip(steps, limits.min, limits.max).astype(io.value)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": image})[0]
    real = (logits.astype(np.float64) - scales["logits"]["zero_point"]) * scales["logits"]["scale"]
    wanted = model.observe(inputs)
    assert snr_db(wanted["logits"], real) > 25
    # As `observe_quantized` does it for the caller.
    seen = model.observe_quantized(path, inputs)
    assert_near(seen["logits"], real, rtol=1e-5, atol=1e-6)
    assert snr_db(inputs["image"], seen["image"]) > 30


@_IO
def test_integers_at_the_ends_change_nothing_in_between(io: DType, tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    inputs = draw_inputs(model)
    quantize(model, tmp_path / "float.onnx")
    quantize(model, tmp_path / "q.onnx", io=io)
    wanted = model.observe_quantized(tmp_path / "float.onnx", inputs)["flat"]
    got = model.observe_quantized(tmp_path / "q.onnx", inputs)["flat"]
    assert_near(got, wanted, atol=1e-5)


def test_unsigned_integers_need_nothing_at_the_ends(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    quantize(model, tmp_path / "q.onnx", io=DType.UINT8)
    fused = fused_operators(tmp_path / "q.onnx")
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(fused)


@_IO
def test_float_operators_at_the_ends(io: DType, tmp_path: Path) -> None:
    text = """
    ends (float[N,4] x, float[4,4] w1) => (float[N,4] y, float[N,4] z) {
        a = Tanh (x)
        z = MatMul (a, w1)
        y = Tanh (z)
    }
    """
    model = open_text(text, tmp_path)
    inputs = draw_inputs(model)
    for operators in ({}, {"z": FLOAT32}):
        quantize(model, tmp_path / "q.onnx", operators=operators, io=io)
        got, wanted = model.observe_quantized(tmp_path / "q.onnx", inputs), model.observe(inputs)
        for name in ("x", "y", "z"):
            assert snr_db(wanted[name], got[name]) > 25, name


def test_integer_inputs_of_the_model_stay_as_they_are(tmp_path: Path) -> None:
    text = """
    lookup (int64[N,3] ids, float[8,4] w1) => (float[N,3,4] y) {
        rows = Gather (w1, ids)
        y = Sigmoid (rows)
    }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx", io=DType.INT8)
    signature = load_handler("onnx").read_signature(tmp_path / "q.onnx")
    assert [spec.dtype for spec in (*signature.inputs, *signature.outputs)] == [
        DType.INT64,
        DType.INT8,
    ]
    inputs = draw_inputs(model)
    got = model.observe_quantized(tmp_path / "q.onnx", inputs)["y"]
    assert snr_db(model.observe(inputs)["y"], got) > 25


def test_an_end_needs_a_range(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    weights = Precision(weights="int8")
    only: dict[str, Range] = {"image": measure_ranges(model)["image"]}
    with pytest.raises(ConversionError, match="'logits' has no range"):
        quantize(model, tmp_path / "q.onnx", weights, ranges=only, io=DType.INT8)


def test_float_ends_have_no_scales(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    quantize(model, tmp_path / "q.onnx")
    metadata = load_handler("onnx").read_metadata(tmp_path / "q.onnx")
    assert "edgeconv.io_quantization" not in metadata
    assert node_types(tmp_path / "q.onnx").count("QuantizeLinear") > 3


@pytest.mark.parametrize("recipe", ["int8", "fp16"])
def test_an_output_may_be_a_constant(recipe: str, tmp_path: Path) -> None:
    text = """
    constant (float[N,4] x, float[4,3] w1) => (float[N,3] y, float[3] z) {
        y = MatMul (x, w1)
        z = Constant <value = float[3] {0.0, 1.0, 2.0}> ()
    }
    """
    model = open_text(text, tmp_path)
    io = DType.INT8 if recipe == "int8" else DType.FLOAT32
    quantize(model, tmp_path / "q.onnx", RECIPES[recipe].precision, io=io)
    got = model.observe_quantized(tmp_path / "q.onnx", draw_inputs(model))["z"]
    assert_near(got, np.arange(3), atol=0.02)
