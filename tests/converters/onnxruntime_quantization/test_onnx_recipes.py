"""The other recipes: what is stored, what runs, and how far it is from the float model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, numpy_helper

from edgeconv.formats import load_handler
from edgeconv.plugin.quantizer import FLOAT32, FloatModel, Precision
from edgeconv.quantization.recipes import RECIPES
from edgeconv_converters.onnxruntime_quantization import SPEC
from tests.converters.onnxruntime_quantization.texts import (
    INT8,
    NETWORK,
    draw,
    draw_inputs,
    fused_operators,
    node_types,
    open_text,
    quantize,
    snr_db,
)

pytestmark = [pytest.mark.integration]

_TOKENS = """
tokens (int64[N,6] ids, float[50,64] w1, float[64,96] w2, float[96] w3, float[96,96] w4) => (float[N,6,96] y) {
    rows = Gather (w1, ids)
    product = MatMul (rows, w2)
    sum = Add (product, w3)
    act = Tanh (sum)
    y = MatMul (act, w4)
}
"""
_RECURRENT = """
recurrent (float[5,N,4] x, float[1,32,4] w1, float[1,32,8] w2, float[1,64] w3) => (float[5,1,N,8] y) {
    y, h, c = LSTM <hidden_size = 8> (x, w1, w2, w3)
}
"""
_LEAST_DB = {
    "fp16": 50,
    "int8": 25,
    "int8-dynamic": 25,
    "int8-weights": 35,
    "int16x8": 35,
    "int4-weights": 10,
    "int4-weights-b32": 12,
    "int4-weights-b64": 12,
    "int4-weights-b128": 10,
    "int4-weights-b256": 10,
}


def _snr_db(model: FloatModel, path: Path, output: str) -> float:
    inputs = draw_inputs(model, seed=1)
    with load_handler("onnx").open(path) as session:
        got = session.run(inputs).outputs[output]
    return snr_db(model.observe(inputs)[output], got)


def test_every_recipe_is_carried_out() -> None:
    assert set(SPEC.recipes) == set(_LEAST_DB) == set(RECIPES)


@pytest.mark.parametrize("recipe", SPEC.recipes)
@pytest.mark.parametrize(
    ("text", "output"), [(NETWORK, "logits"), (_TOKENS, "y")], ids=["network", "tokens"]
)
def test_recipes(recipe: str, text: str, output: str, tmp_path: Path) -> None:
    model = open_text(text, tmp_path)
    path = tmp_path / "q.onnx"
    made = quantize(model, path, RECIPES[recipe].precision)
    assert _snr_db(model, path, output) > _LEAST_DB[recipe]
    assert RECIPES[recipe].precision in made.precisions.values()
    assert all(
        (precision == FLOAT32) == (name in made.reasons)
        for name, precision in made.precisions.items()
    )
    inputs = draw_inputs(model)
    assert output in model.observe_quantized(path, inputs)
    assert load_handler("onnx").read_signature(path) == model.signature


@pytest.mark.parametrize(
    ("recipe", "most"),
    [
        ("fp16", 0.55),
        ("int8-dynamic", 0.35),
        ("int8-weights", 0.35),
        ("int8", 0.4),
        ("int4-weights-b32", 0.35),
    ],
)
def test_files_become_smaller(recipe: str, most: float, tmp_path: Path) -> None:
    model = open_text(_TOKENS, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES[recipe].precision)
    before = (tmp_path / "model.onnx").stat().st_size
    assert (tmp_path / "q.onnx").stat().st_size < most * before


def test_weights_are_symmetric_with_a_scale_for_each_channel(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES["int8-weights"].precision)
    tensors = {t.name: t for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    weights = model.constant("w1")
    assert weights is not None
    scales = numpy_helper.to_array(tensors["w1_scale"])
    np.testing.assert_allclose(scales, np.abs(weights).max((1, 2, 3)) / 127, rtol=1e-6)
    restored = numpy_helper.to_array(tensors["w1_quantized"]) * scales.reshape(-1, 1, 1, 1)
    assert np.abs(restored - weights).max() <= scales.max() / 2 + 1e-7


def test_blocks_have_a_scale_each_and_a_kernel(tmp_path: Path) -> None:
    model = open_text(_TOKENS, tmp_path)
    made = quantize(model, tmp_path / "q.onnx", RECIPES["int4-weights-b32"].precision)
    tensors = {t.name: t for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert tensors["w2_quantized"].data_type == TensorProto.INT4
    assert list(tensors["w2_scale"].dims) == [2, 96]
    assert list(tensors["w4_scale"].dims) == [3, 96]
    assert fused_operators(tmp_path / "q.onnx").count("MatMulNBits") == 2
    assert "8 bits" in made.reasons["rows"]


def test_blocks_are_finer_than_channels(tmp_path: Path) -> None:
    weights = draw(64, 96)
    weights[:32] *= 0.02
    model = open_text(_TOKENS, tmp_path, given={"w2": weights})
    for recipe in ("int4-weights", "int4-weights-b32"):
        quantize(model, tmp_path / f"{recipe}.onnx", RECIPES[recipe].precision)
    inputs = draw_inputs(model)
    seen = {
        recipe: model.observe_quantized(tmp_path / f"{recipe}.onnx", inputs)["product"]
        for recipe in ("int4-weights", "int4-weights-b32")
    }
    wanted = model.observe(inputs)["product"]
    assert snr_db(wanted, seen["int4-weights-b32"]) > snr_db(wanted, seen["int4-weights"])


def test_blockwise_products_with_transposed_weights_and_a_bias(tmp_path: Path) -> None:
    text = """
    gemm (float[N,64] x, float[40,64] w1, float[40] w2) => (float[N,40] y) { y = Gemm <transB = 1> (x, w1, w2) }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES["int4-weights-b32"].precision)
    assert "MatMulNBits" in fused_operators(tmp_path / "q.onnx")
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 15


def test_an_odd_number_of_four_bit_weights(tmp_path: Path) -> None:
    text = "odd (float[N,3] x, float[3,5] w1) => (float[N,5] y) { y = MatMul (x, w1) }"
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES["int4-weights"].precision)
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 12


def test_tables_are_looked_up_as_integers(tmp_path: Path) -> None:
    model = open_text(_TOKENS, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES["int8-weights"].precision)
    tensors = {t.name: t for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert tensors["w1_quantized"].data_type == TensorProto.INT8
    assert list(tensors["w1_scale"].dims) == [50, 1]
    assert "w1" not in tensors
    inputs = draw_inputs(model)
    rows = model.observe_quantized(tmp_path / "q.onnx", inputs)["rows"]
    assert snr_db(model.observe(inputs)["rows"], rows) > 35


@pytest.mark.parametrize("recipe", ["int8", "int8-weights", "int8-dynamic", "int4-weights", "fp16"])
def test_a_table_that_is_a_matrix_too(recipe: str, tmp_path: Path) -> None:
    text = """
    tied (int64[N] ids, float[12,16] w1) => (float[N,12] y) {
        rows = Gather (w1, ids)
        act = Relu (rows)
        y = Gemm <transB = 1> (act, w1)
    }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES[recipe].precision)
    assert _snr_db(model, tmp_path / "q.onnx", "y") > _LEAST_DB[recipe]


@pytest.mark.parametrize("recipe", ["int8-dynamic", "int8-weights"])
def test_recurrent_weights(recipe: str, tmp_path: Path) -> None:
    model = open_text(_RECURRENT, tmp_path)
    made = quantize(model, tmp_path / "q.onnx", RECIPES[recipe].precision)
    assert made.precisions["y"] == RECIPES[recipe].precision
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 25
    floats = [
        tensor.name
        for tensor in onnx.load(tmp_path / "q.onnx").graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 70
    ]
    assert not floats


def test_dynamic_products_use_the_integer_kernel(tmp_path: Path) -> None:
    model = open_text(_TOKENS, tmp_path)
    quantize(model, tmp_path / "q.onnx", RECIPES["int8-dynamic"].precision)
    fused = fused_operators(tmp_path / "q.onnx")
    assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} & set(fused)
    assert "MatMul" not in fused


def test_kinds_of_precision_side_by_side(tmp_path: Path) -> None:
    """Each override is carried out, and what the library rewrites for one leaves the others alone."""
    text = """
    kinds (float[N,32] x, float[16,32] w1, float[16] w2, float[16,16] w3, float[16] w4, float[16,8] w5) => (float[N,8] y) {
        a = Gemm <transB = 1> (x, w1, w2)
        b = Relu (a)
        c = Gemm <transB = 1> (b, w3, w4)
        d = Relu (c)
        y = MatMul (d, w5)
    }
    """
    model = open_text(text, tmp_path)
    overrides = {"c": Precision(weights="int8", is_dynamic=True), "y": Precision(weights="int8")}
    made = quantize(model, tmp_path / "q.onnx", operators=overrides)
    assert made.precisions["a"] == INT8
    assert {name: made.precisions[name] for name in overrides} == overrides
    fused = fused_operators(tmp_path / "q.onnx")
    assert "QGemm" in fused
    assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} & set(fused)
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 25


def test_half_precision_beside_integers_stays_float(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    half = RECIPES["fp16"].precision
    made = quantize(model, tmp_path / "q.onnx", operators={"sum": half})
    assert made.precisions["sum"] == FLOAT32
    assert "half precision" in made.reasons["sum"]


def test_single_operators_stay_float_in_half_precision(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    half = RECIPES["fp16"].precision
    quantize(model, tmp_path / "q.onnx", half, operators={"logits": FLOAT32})
    tensors = {t.name: t.data_type for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert tensors["w5"] == TensorProto.FLOAT
    assert tensors["w1"] == TensorProto.FLOAT16
    assert "Cast" in node_types(tmp_path / "q.onnx")


def test_what_half_precision_cannot_hold_stays_float(tmp_path: Path) -> None:
    text = "large (float[N,8] x, float[8,8] w1, float[8,8] w2) => (float[N,8] y) { a = MatMul (x, w1) y = MatMul (a, w2) }"
    model = open_text(text, tmp_path, given={"w1": draw(8, 8) * 1e6, "w2": draw(8, 8) * 1e-6})
    made = quantize(model, tmp_path / "q.onnx", RECIPES["fp16"].precision)
    assert made.precisions["a"] == FLOAT32
    assert "65504" in made.reasons["a"]
    assert "y" not in made.reasons
