"""Branches and loops: what is inside of them stays as it is, and reads what is outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgeconv.plugin.quantizer import FLOAT32, Range
from edgeconv.quantization.recipes import RECIPES
from tests.converters.onnxruntime_quantization.texts import (
    Array,
    draw,
    open_text,
    quantize,
    snr_db,
)

pytestmark = [pytest.mark.integration]

_BRANCH = """
branch (float[2,32] x, bool c, float[32,32] w1, float[32] w2) => (float[2,32] y) {
    z = MatMul (x, w1)
    chosen = If (c) <
        then_branch = yes () => (float[2,32] a) { t = MatMul (z, w1) a = Add (t, w2) },
        else_branch = no () => (float[2,32] b) { b = Neg (z) }
    >
    relu = Relu (chosen)
    y = MatMul (relu, w1)
}
"""
_LOOP = """
looped (float[2,32] x, bool c, int64 n, float[32,32] w1) => (float[2,32] y) {
    z = MatMul (x, w1)
    y = Loop (n, c, z) <
        body = step (int64 i, bool go, float[2,32] state) => (bool more, float[2,32] next) {
            more = Identity (go) t = MatMul (state, w1) next = Tanh (t)
        }
    >
}
"""


@pytest.mark.parametrize(
    "recipe", ["int8", "int16x8", "int8-dynamic", "int8-weights", "int4-weights-b32", "fp16"]
)
@pytest.mark.parametrize(
    ("text", "code"), [(_BRANCH, "If"), (_LOOP, "Loop")], ids=["branch", "loop"]
)
def test_bodies(recipe: str, text: str, code: str, tmp_path: Path) -> None:
    model = open_text(text, tmp_path)
    inputs: dict[str, Array] = {"x": draw(2, 32), "c": np.array(True)}
    if code == "Loop":
        inputs["n"] = np.array(3)
    wanted = model.observe(inputs)
    ranges = {n: Range(low=float(v.min()), high=float(v.max())) for n, v in wanted.items()}
    made = quantize(model, tmp_path / "q.onnx", RECIPES[recipe].precision, ranges=ranges)
    got = model.observe_quantized(tmp_path / "q.onnx", inputs)
    assert snr_db(wanted["y"], got["y"]) > (12 if recipe.startswith("int4") else 30)
    assert made.precisions["z"] == RECIPES[recipe].precision
    if recipe != "fp16":
        (holder,) = [operator.name for operator in model.operators if operator.code == code]
        assert made.precisions[holder] == FLOAT32
    assert any(code in warning for warning in made.warnings)
