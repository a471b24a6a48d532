"""Static integers: values, kernels, and single operators in other precisions."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import numpy_helper

from edgeconv.errors import ConversionError
from edgeconv.formats import load_handler
from edgeconv.plugin.quantizer import FLOAT32, FloatModel, Precision, Range
from tests.converters.onnxruntime_quantization.texts import (
    INT8,
    NETWORK,
    Array,
    assert_near,
    build,
    draw,
    draw_inputs,
    fused_operators,
    measure_ranges,
    node_types,
    open_text,
    quantize,
    snr_db,
    write,
)

pytestmark = [pytest.mark.integration]

INT16 = Precision(weights="int8", activations="int16")


@pytest.fixture
def model(tmp_path: Path) -> FloatModel:
    return open_text(NETWORK, tmp_path)


def _run(path: Path, inputs: dict[str, Array]) -> dict[str, Array]:
    """As it runs at users: by the format's own handler, with all fusions."""
    with load_handler("onnx").open(path) as session:
        return dict(session.run(inputs).outputs)


def _snr_db(model: FloatModel, path: Path, output: str = "logits") -> float:
    inputs = draw_inputs(model, seed=1)
    return snr_db(model.observe(inputs)[output], _run(path, inputs)[output])


def test_integers_compute_what_the_float_model_does(model: FloatModel, tmp_path: Path) -> None:
    made = quantize(model, tmp_path / "q.onnx")
    assert _snr_db(model, tmp_path / "q.onnx") > 25
    assert _snr_db(model, tmp_path / "q.onnx", "scores") > 25
    assert set(made.precisions.values()) == {INT8}
    assert not made.reasons


def test_a_damaged_weight_shows(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx")
    proto = onnx.load(tmp_path / "q.onnx")
    tensor = next(t for t in proto.graph.initializer if t.name == "w5_quantized")
    damaged = numpy_helper.to_array(tensor).copy()
    damaged[0] = -damaged[0]
    tensor.CopyFrom(numpy_helper.from_array(damaged, tensor.name))
    assert _snr_db(model, write(proto, tmp_path, "damaged.onnx")) < 20


def test_ranges_are_those_of_the_plan(model: FloatModel, tmp_path: Path) -> None:
    ranges = measure_ranges(model)
    narrow = {name: Range(low=r.low / 8, high=r.high / 8) for name, r in ranges.items()}
    quantize(model, tmp_path / "narrow.onnx", ranges=narrow)
    assert _snr_db(model, tmp_path / "narrow.onnx") < 15


def test_onnx_runtime_computes_in_integers(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx")
    fused = fused_operators(tmp_path / "q.onnx")
    assert fused.count("QLinearConv") == 2
    assert {"QLinearAdd", "QGemm", "QLinearGlobalAveragePool", "QLinearSoftmax"} <= set(fused)
    assert not {"Conv", "Relu", "Clip", "Gemm", "Add", "Softmax"} & set(fused)


def test_a_constant_beside_integers_is_an_integer_too(tmp_path: Path) -> None:
    """With signed activations ONNX Runtime would leave this addition in float32 on x86."""
    text = """
    tokens (float[N,3,4] x, float[4,6] w1, float[6] w2) => (float[N,3,6] y) {
        product = MatMul (x, w1)
        sum = Add (product, w2)
        y = Sigmoid (sum)
    }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx")
    assert {"QLinearMatMul", "QLinearAdd", "QLinearSigmoid"} <= set(
        fused_operators(tmp_path / "q.onnx")
    )


def test_every_layer_is_seen_under_its_float_name(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx")
    inputs = draw_inputs(model)
    wanted, got = model.observe(inputs), model.observe_quantized(tmp_path / "q.onnx", inputs)
    # What a clamp reads is one with it.
    assert wanted.keys() - got.keys() == {"conv", "depthwise"}
    for name, values in got.items():
        assert snr_db(wanted[name], values) > 20, name
        assert values.dtype == np.float32


def test_what_is_seen_is_what_runs(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx")
    inputs = draw_inputs(model)
    seen = model.observe_quantized(tmp_path / "q.onnx", inputs)
    for name, values in _run(tmp_path / "q.onnx", inputs).items():
        np.testing.assert_array_equal(seen[name], values)


def test_a_clamp_whose_range_goes_further_is_kept(tmp_path: Path) -> None:
    text = """
    clamp (float[N,2,4,4] x, float[2,2,1,1] w1) => (float[N,2,4,4] y, float[N,2,4,4] z) {
        conv = Conv (x, w1)
        y = Relu (conv)
        z = Sigmoid (y)
    }
    """
    model = open_text(text, tmp_path)
    wide = {name: Range(low=-4.0, high=4.0) for name in measure_ranges(model)}
    quantize(model, tmp_path / "q.onnx", ranges=wide)
    assert "Relu" in node_types(tmp_path / "q.onnx")
    assert _run(tmp_path / "q.onnx", draw_inputs(model))["y"].min() == 0


def test_an_operator_kept_in_float_is_exact_there(model: FloatModel, tmp_path: Path) -> None:
    kept = {"conv": FLOAT32, "relu": FLOAT32}
    made = quantize(model, tmp_path / "q.onnx", operators=kept)
    assert made.precisions["conv"] == FLOAT32
    assert made.precisions["depthwise"] == INT8
    inputs = draw_inputs(model)
    got = model.observe_quantized(tmp_path / "q.onnx", inputs)
    assert "Conv" in fused_operators(tmp_path / "q.onnx") or "FusedConv" in fused_operators(
        tmp_path / "q.onnx"
    )
    assert snr_db(model.observe(inputs)["logits"], got["logits"]) > 25


def test_everything_in_float_is_the_float_model(model: FloatModel, tmp_path: Path) -> None:
    kept = {operator.name: FLOAT32 for operator in model.operators}
    quantize(model, tmp_path / "q.onnx", operators=kept)
    assert "QuantizeLinear" not in node_types(tmp_path / "q.onnx")
    assert _snr_db(model, tmp_path / "q.onnx") > 100


def test_float_operators_read_what_float_operators_compute(tmp_path: Path) -> None:
    text = """
    islands (float[N,4] x, float[4,4] w1) => (float[N,4] y, float[N,4] z) {
        a = Tanh (x)
        y = Tanh (a)
        z = MatMul (a, w1)
    }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx")
    inputs = draw_inputs(model)
    got = _run(tmp_path / "q.onnx", inputs)
    assert_near(got["y"], model.observe(inputs)["y"], atol=1e-6)
    assert 25 < snr_db(model.observe(inputs)["z"], got["z"]) < 60


def test_an_output_of_a_float_operator_is_not_rounded(tmp_path: Path) -> None:
    text = """
    ends (float[N,4] x, float[4,4] w1) => (float[N,4] y, float[N,4] z, float[N,4] u) {
        y = Tanh (x)
        z = MatMul (y, w1)
        u = Tanh (y)
    }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx")
    assert "QLinearMatMul" in fused_operators(tmp_path / "q.onnx") or (
        "MatMulIntegerToFloat" in fused_operators(tmp_path / "q.onnx")
    )
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 100
    assert _snr_db(model, tmp_path / "q.onnx", "u") > 100
    assert 25 < _snr_db(model, tmp_path / "q.onnx", "z") < 60


def test_sixteen_bits_are_finer_than_eight(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "8.onnx")
    made = quantize(model, tmp_path / "16.onnx", INT16)
    inputs = draw_inputs(model, seed=1)
    wanted = model.observe(inputs)
    coarse = model.observe_quantized(tmp_path / "8.onnx", inputs)
    fine = model.observe_quantized(tmp_path / "16.onnx", inputs)
    assert snr_db(wanted["image"], fine["image"]) > snr_db(wanted["image"], coarse["image"]) + 40
    assert snr_db(wanted["logits"], fine["logits"]) > snr_db(wanted["logits"], coarse["logits"])
    assert any("16-bit" in warning for warning in made.warnings)
    proto = onnx.load(tmp_path / "16.onnx")
    assert [entry.version for entry in proto.opset_import if not entry.domain] == [21]
    assert proto.ir_version == 10


@pytest.mark.parametrize("wide", [("depthwise", "clip"), ("sum",), ("logits",), ("conv", "relu")])
def test_single_operators_in_sixteen_bits(
    model: FloatModel, wide: tuple[str, ...], tmp_path: Path
) -> None:
    made = quantize(model, tmp_path / "q.onnx", operators=dict.fromkeys(wide, INT16))
    assert all(made.precisions[name] == INT16 for name in wide)
    assert _snr_db(model, tmp_path / "q.onnx") > 25
    fused = fused_operators(tmp_path / "q.onnx")
    # The others are in integers as before.
    kept = {"conv": "QLinearConv", "sum": "QLinearAdd", "logits": "QGemm"}
    assert {code for name, code in kept.items() if name not in wide} <= set(fused)


def test_the_batch_stays_dynamic(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx")
    signature = load_handler("onnx").read_signature(tmp_path / "q.onnx")
    assert signature == model.signature
    for batch in (1, 7):
        outputs = _run(tmp_path / "q.onnx", draw_inputs(model, batch=batch))
        assert outputs["logits"].shape == (batch, 5)


def test_metadata_stays(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx")
    assert load_handler("onnx").read_metadata(tmp_path / "q.onnx")["author"] == "Ann Example"
    proto = onnx.load(tmp_path / "q.onnx")
    assert proto.producer_name == "elsewhere"
    assert not [e.key for e in proto.metadata_props if e.key.startswith("onnx.")]


_AGAIN = """
import sys
from pathlib import Path
from tests.converters.onnxruntime_quantization.test_static import INT16
from tests.converters.onnxruntime_quantization.texts import NETWORK, open_text, quantize
folder = Path(sys.argv[1])
quantize(open_text(NETWORK, folder), folder / "again.onnx", operators={"sum": INT16})
"""


def test_the_same_plan_gives_the_same_bytes(model: FloatModel, tmp_path: Path) -> None:
    quantize(model, tmp_path / "q.onnx", operators={"sum": INT16})
    subprocess.run(
        [sys.executable, "-c", _AGAIN, str(tmp_path)],
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ".:converters"},
    )
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()


def test_changed_weights_are_what_is_quantized(model: FloatModel, tmp_path: Path) -> None:
    weights = model.constant("w5")
    assert weights is not None
    before = model.observe(draw_inputs(model, seed=1))["logits"]
    model.set_constant("w5", np.zeros_like(weights))
    bias = model.constant("w6")
    assert bias is not None
    after = model.observe(draw_inputs(model, seed=1))["logits"]
    assert_near(after, np.broadcast_to(bias, after.shape), atol=1e-6)
    assert snr_db(before, after) < 10
    quantize(model, tmp_path / "q.onnx")
    assert _snr_db(model, tmp_path / "q.onnx") > 25


def test_without_ranges_it_is_refused(model: FloatModel, tmp_path: Path) -> None:
    ranges = measure_ranges(model)
    del ranges["sum"]
    with pytest.raises(ConversionError, match="no range") as caught:
        quantize(model, tmp_path / "q.onnx", ranges=ranges)
    assert caught.value.details == ("sum",)
    assert not (tmp_path / "q.onnx").exists()


def test_an_old_operator_set_is_raised(tmp_path: Path) -> None:
    text = """
    old (float[N,3,4,4] x, float[4,3,3,3] w1, float[4] w2) => (float[N,4,2,2] y) {
        a = Conv (x, w1, w2)
        y = Clip <min = 0.0, max = 6.0> (a)
    }
    """
    model = open_text(text, tmp_path, opset=10)
    quantize(model, tmp_path / "q.onnx")
    assert [e.version for e in onnx.load(tmp_path / "q.onnx").opset_import if not e.domain] == [13]
    assert "QLinearConv" in fused_operators(tmp_path / "q.onnx")
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 25


@pytest.mark.parametrize("precision", [INT8, INT16], ids=["int8", "int16x8"])
@pytest.mark.parametrize("opset", [12, 17])
def test_an_old_operator_set_with_operators_of_onnx_runtime(
    opset: int, precision: Precision, tmp_path: Path
) -> None:
    text = """
    mixed (float[2,8,4] x, float[4,6] w1) => (float[2,8,6] y, float[2,6] z) {
        a = MatMul (x, w1)
        b = com.microsoft.Gelu (a)
        y = Sigmoid (b)
        z = ReduceMean <axes = [1], keepdims = 0> (y)
    }
    """
    model = open_text(text, tmp_path, opset=opset)
    made = quantize(model, tmp_path / "q.onnx", precision)
    assert made.precisions["a"] == made.precisions["y"] == precision
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 30
    assert _snr_db(model, tmp_path / "q.onnx", "z") > 30


def test_a_channel_of_zeros_and_a_constant_activation(tmp_path: Path) -> None:
    text = """
    zeros (float[N,4] x, float[4,3] w1, float[3] w2) => (float[N,3] y) {
        a = Gemm (x, w1, w2)
        b = Relu (a)
        y = Sigmoid (b)
    }
    """
    weights = draw(4, 3)
    weights[:, 1] = 0
    model = open_text(text, tmp_path, given={"w1": weights, "w2": np.zeros(3, np.float32)})
    ranges = measure_ranges(model)
    quantize(model, tmp_path / "q.onnx", ranges=ranges)
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 30
    nothing = {**ranges, "b": Range(low=0.0, high=0.0), "a": Range(low=0.0, high=0.0)}
    quantize(model, tmp_path / "flat.onnx", ranges=nothing)
    assert np.isfinite(_run(tmp_path / "flat.onnx", draw_inputs(model))["y"]).all()


def test_a_bias_too_large_for_its_scale_is_not_cut_off(tmp_path: Path) -> None:
    text = """
    large (float[N,4] x, float[4,3] w1, float[3] w2) => (float[N,3] y) { y = Gemm (x, w1, w2) }
    """
    given = {"w1": draw(4, 3, scale=1e-9), "w2": np.array([5, -5, 1], np.float32)}
    model = open_text(text, tmp_path, given=given)
    quantize(model, tmp_path / "q.onnx")
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 30


def test_constants_are_only_set_to_what_fits(model: FloatModel) -> None:
    from edgeconv.errors import InvalidInputError

    with pytest.raises(InvalidInputError, match="cannot be set"):
        model.set_constant("w6", draw(4))
    with pytest.raises(InvalidInputError, match="cannot be set"):
        model.set_constant("relu", draw(4))
    assert model.constant("relu") is None


@pytest.mark.parametrize(("precision", "dtype"), [(INT8, "uint8"), (INT16, "int8")])
def test_weights_have_no_sign_where_sums_of_signed_ones_may_saturate(
    model: FloatModel, tmp_path: Path, precision: Precision, dtype: str
) -> None:
    """Between 16-bit activations nothing computes with 8-bit sums."""
    quantize(model, tmp_path / "q.onnx", default=precision)
    graph = onnx.load(tmp_path / "q.onnx").graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weighted = {node.input[1] for node in graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}}
    stored = [node.input for node in graph.node if weighted & set(node.output)]
    assert stored
    for weights, _, zeros in stored:
        assert known[weights].dtype == known[zeros].dtype == dtype
        assert known[weights].astype(int).max() - known[zeros].min().astype(int) == 127


def test_weights_that_two_operators_share(tmp_path: Path) -> None:
    text = """
    shared (float[N,4] x, float[4,4] w1) => (float[N,4] y, float[N,4] z) {
        a = MatMul (x, w1)
        y = Relu (a)
        z = MatMul (y, w1)
    }
    """
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx", operators={"z": replace(INT8)})
    assert _snr_db(model, tmp_path / "q.onnx", "z") > 25


def test_a_graph_built_anew_is_not_changed_by_quantizing(tmp_path: Path) -> None:
    model = open_text(NETWORK, tmp_path)
    inputs = draw_inputs(model)
    before = {name: values.copy() for name, values in model.observe(inputs).items()}
    quantize(model, tmp_path / "q.onnx")
    model.save(tmp_path / "saved.onnx")
    again = _run(tmp_path / "saved.onnx", inputs)
    np.testing.assert_array_equal(again["logits"], before["logits"])
    assert build(NETWORK).graph.name == onnx.load(tmp_path / "saved.onnx").graph.name


def test_a_clamp_before_an_output_is_not_lost(tmp_path: Path) -> None:
    """It vanishes into the scale of the pair behind the product, with which it would be taken away."""
    text = "last (float[N,8] x, float[8,6] w1, float[6] w2) => (float[N,6] y) { a = Gemm (x, w1, w2) y = Relu (a) }"
    model = open_text(text, tmp_path)
    quantize(model, tmp_path / "q.onnx")
    assert _run(tmp_path / "q.onnx", draw_inputs(model))["y"].min() == 0
    assert _snr_db(model, tmp_path / "q.onnx", "y") > 30
