"""The policy says what ONNX Runtime does: each operator is put among integers, and the graph that comes of it is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgeconv.plugin.quantizer import FLOAT32, Precision
from edgeconv.quantization.recipes import RECIPES
from edgeconv_converters.onnxruntime_quantization.policy import KERNELS, find_kernels
from tests.converters.onnxruntime_quantization.texts import (
    INT8,
    draw_inputs,
    fused_operators,
    open_text,
    quantize,
    snr_db,
)

pytestmark = [pytest.mark.integration]

# What each operator is called with; `conv` is an activation of integers, [2,4,6,6], `other` one more.
_CALLS = {
    "Add": "Add (conv, other)",
    "AveragePool": "AveragePool <kernel_shape = [2, 2]> (conv)",
    "Clip": "Clip (conv, low, high)",
    "Concat": "Concat <axis = 1> (conv, other)",
    "Conv": "Conv (conv, w3)",
    "DepthToSpace": "DepthToSpace <blocksize = 2> (conv)",
    "Expand": "Expand (conv, five)",
    "Flatten": "Flatten (conv)",
    "Gather": "Gather (conv, index)",
    "Gemm": "Gemm (flat, w4)",
    "GlobalAveragePool": "GlobalAveragePool (conv)",
    "LeakyRelu": "LeakyRelu (conv)",
    "MatMul": "MatMul (conv, other)",
    "MaxPool": "MaxPool <kernel_shape = [2, 2]> (conv)",
    "Mul": "Mul (conv, other)",
    "Relu": "Relu (conv)",
    "Reshape": "Reshape (conv, rows)",
    "Resize": 'Resize <mode = "nearest"> (conv, , twice)',
    "Sigmoid": "Sigmoid (conv)",
    "Slice": "Slice (conv, index, end, index)",
    "Softmax": "Softmax (conv)",
    "Split": "Split <axis = 1> (conv)",
    "Squeeze": "Squeeze (ahead)",
    "Tile": "Tile (conv, once)",
    "Transpose": "Transpose <perm = [0, 2, 3, 1]> (conv)",
    "Unsqueeze": "Unsqueeze (conv, index)",
    "Where": "Where (mask, conv, other)",
}
_TEXT = """
probe (float[2,3,6,6] x, float[4,3,1,1] w1, float[4,3,1,1] w2, float[4,4,1,1] w3, float[144,5] w4) => (float[] y) {{
    conv = Conv (x, w1)
    {other}
    low = Constant <value = float {{0.0}}> ()
    high = Constant <value = float {{1.0}}> ()
    five = Constant <value = int64[5] {{3, 1, 1, 1, 1}}> ()
    index = Constant <value = int64[1] {{1}}> ()
    rows = Constant <value = int64[2] {{2, 144}}> ()
    once = Constant <value = int64[4] {{1, 1, 2, 2}}> ()
    twice = Constant <value = float[4] {{1.0, 1.0, 2.0, 2.0}}> ()
    mask = Constant <value = bool[6] {{1, 0, 1, 1, 0, 1}}> ()
    {before}
    {outputs} = {call}
    y = Sigmoid (result)
}}
"""
_BEFORE = {
    "Gemm": "flat = Flatten (conv)",
    "Squeeze": "ahead = Unsqueeze (conv, index)",
    "Slice": "end = Constant <value = int64[1] {3}> ()",
}


def _text(call: str, before: str = "", outputs: str = "result") -> str:
    other = "other = Conv (x, w2)" if "other" in call else ""
    return _TEXT.format(other=other, before=before, outputs=outputs, call=call)


def _probe(code: str, call: str, folder: Path) -> tuple[list[str], float]:
    """What ONNX Runtime makes of a call between integers, and how exact the output is."""
    outputs = "result, more" if code == "Split" else "result"
    model = open_text(_text(call, _BEFORE.get(code, ""), outputs), folder, opset=13)
    quantize(model, folder / "q.onnx")
    inputs = draw_inputs(model, seed=1)
    got = model.observe_quantized(folder / "q.onnx", inputs)["y"]
    return fused_operators(folder / "q.onnx"), snr_db(model.observe(inputs)["y"], got)


@pytest.mark.parametrize("code", sorted(_CALLS))
def test_between_integers_nothing_is_float(code: str, tmp_path: Path) -> None:
    fused, exactness = _probe(code, _CALLS[code], tmp_path)
    # Integers until the end: quantized at the only input, dequantized at the only output; half of a split is unread.
    assert fused.count("DequantizeLinear") == (2 if code == "Split" else 1), fused
    assert fused.count("QuantizeLinear") == 1, fused
    assert exactness > 20


def test_every_operator_of_the_policy_is_probed() -> None:
    assert set(_CALLS) == KERNELS[-1].computing | KERNELS[-1].moving


@pytest.mark.parametrize(
    "call",
    [
        "Tanh (conv)",
        "Sub (conv, other)",
        "Div (conv, other)",
        "HardSigmoid (conv)",
        "ReduceMean <axes = [1]> (conv)",
        "GlobalMaxPool (conv)",
        "Exp (conv)",
        'Resize <mode = "linear"> (conv, , twice)',
        "ConvTranspose (conv, w3)",
    ],
)
def test_what_has_no_kernel_is_left_in_float_with_a_reason(call: str, tmp_path: Path) -> None:
    model = open_text(_text(call), tmp_path, opset=13)
    made = quantize(model, tmp_path / "q.onnx")
    assert made.precisions["result"] == FLOAT32
    assert made.reasons["result"]
    assert call.partition(" ")[0] in fused_operators(tmp_path / "q.onnx")


@pytest.mark.parametrize(
    ("text", "precision", "reason"),
    [
        (
            "m (float[4,3] x, float[5,4] w1) => (float[5,3] y) { y = MatMul (w1, x) }",
            INT8,
            "no matrix on the right",
        ),
        (
            "g (float[N,4] x, float[4,5] w1, float[5] w2) => (float[N,5] y) { y = Gemm <beta = 0.5> (x, w1, w2) }",
            INT8,
            "bias",
        ),
        (
            "g (float[N,4] x, float[4,5] w1) => (float[N,5] y) { y = Gemm <alpha = 0.5> (x, w1) }",
            RECIPES["int8-dynamic"].precision,
            "factor",
        ),
        (
            "c (float[1,3,8,8] x, float[4,3,1,1] w1) => (float[1,4,8,8] y) { y = Conv (x, w1) }",
            RECIPES["int4-weights-b32"].precision,
            "matrix products only",
        ),
        (
            "r (float[N,4] x) => (float[N,4] y) { y = Relu (x) }",
            RECIPES["int8-weights"].precision,
            "no constant weights",
        ),
        (
            "s (float[N,4] x) => (int64[2] y) { y = Shape (x) }",
            INT8,
            "no float32 values",
        ),
        (
            "c (float[1,3,8,8] x, float[4,3,1,1] w1) => (float[1,4,8,8] y) { y = Conv (x, w1) }",
            Precision(weights="int4", activations="int8"),
            "8-bit weights",
        ),
    ],
)
def test_refusals(text: str, precision: Precision, reason: str, tmp_path: Path) -> None:
    model = open_text(text, tmp_path)
    assert reason in model.refusal(model.operators[-1], precision)
    assert not model.refusal(model.operators[-1], FLOAT32)


def test_a_version_that_was_not_measured_has_the_kernels_of_the_one_before() -> None:
    assert find_kernels("1.99.0") is KERNELS[-1]
    assert find_kernels("1.20.0") is KERNELS[0]
