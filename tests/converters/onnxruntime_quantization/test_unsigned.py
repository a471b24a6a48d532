"""Weights lose their sign and stand for the same numbers."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import numpy as np
import onnxruntime
from onnx import ModelProto, numpy_helper, parser

from edgeconv_converters.onnxruntime_quantization.unsigned import store_unsigned

pytestmark = [pytest.mark.integration]

TERMS = 64


def _product() -> ModelProto:
    """Sums of products of 255 and 127 or -127."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        net (uint8[1, {TERMS}] x) => (int32[1, 16] y) {{ y = MatMulInteger(x, w, x_zero, w_zero) }}"""
    )
    weights = np.full((TERMS, 16), 127, np.int8)
    weights[:, 1::2] *= -1
    stored = {"w": weights, "x_zero": np.uint8(0), "w_zero": np.zeros(16, np.int8)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()
    )
    return model


def _run(model: ModelProto) -> list[int]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {"x": np.full((1, TERMS), 255, np.uint8)})
    values: list[int] = result[0].tolist()
    return values


def test_sums_of_two_products_do_not_saturate() -> None:
    """Two of them are more than 16 bits hold, which is what `vpmaddubsw` adds them into."""
    model = _product()
    store_unsigned(model)
    assert _run(model) == [255 * 127 * TERMS, -255 * 127 * TERMS] * 8


def test_a_weight_that_is_moved_without_its_zero_point_shows() -> None:
    model = _product()
    store_unsigned(model)
    zeros = next(tensor for tensor in model.graph.initializer if tensor.name == "w_zero")
    zeros.CopyFrom(numpy_helper.from_array(np.zeros(16, np.uint8), "w_zero"))
    assert _run(model) != [255 * 127 * TERMS, -255 * 127 * TERMS] * 8


def test_what_has_no_zero_point_stays() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        net (float[2] x) => (float[2] y)
        <int8[2] w = {1, -3}, float s = {0.5}> { real = DequantizeLinear(w, s) y = Add(x, real) }"""
    )
    before = model.SerializeToString()
    store_unsigned(model)
    assert model.SerializeToString() == before
