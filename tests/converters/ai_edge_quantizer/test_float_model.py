"""An opened float file: its operators, its constants, its activations; what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_quantizer")

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgeconv.errors import InternalError, InvalidInputError
from edgeconv.formats import load_handler
from edgeconv.formats.tflite_stamp import pack_model, unpack_model
from edgeconv.graph import Builder
from edgeconv.plugin.quantizer import FLOAT32, Dependence, Precision, QuantizationPlan, Range
from edgeconv.quantization.recipes import RECIPES
from edgeconv.signature import DType
from edgeconv_converters.ai_edge_quantizer import reading
from edgeconv_converters.ai_edge_quantizer.worker import open_model
from tests.converters.ai_edge_quantizer.graphs import (
    close,
    draw,
    measure_ranges,
    network,
    snr_db,
    write,
)
from tests.converters.ai_edge_quantizer.single import SINGLES, write_single

pytestmark = [pytest.mark.integration]


def test_operators_are_described(tmp_path: Path) -> None:
    found = {o.name: o for o in open_model(write(network(), tmp_path)).operators}
    assert list(found) == [
        "conv_2d",
        "depthwise_conv_2d",
        "add",
        "max_pool_2d",
        "mean",
        "logits",
        "scores",
    ]
    conv, depthwise, dense = (
        found[name].weights for name in ("conv_2d", "depthwise_conv_2d", "logits")
    )
    assert conv is not None
    assert (conv.output_axis, conv.input_axis, conv.is_linear) == (0, 3, True)
    assert depthwise is not None
    assert (depthwise.output_axis, depthwise.input_axis, depthwise.multiplier) == (3, None, 1)
    assert not depthwise.is_linear
    assert dense is not None
    assert (dense.output_axis, dense.input_axis) == (0, 1)
    assert dense.bias in found["logits"].inputs
    kinds = [found[name].dependence for name in ("max_pool_2d", "mean", "add", "scores")]
    assert kinds == [
        Dependence.HOMOGENEOUS,
        Dependence.HOMOGENEOUS,
        Dependence.OTHER,
        Dependence.OTHER,
    ]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("LEAKY_RELU", Dependence.HOMOGENEOUS),
        ("PAD", Dependence.HOMOGENEOUS),
        ("PADV2", Dependence.OTHER),
        ("RELU6", Dependence.OTHER),
        ("CONCATENATION", Dependence.CONCATENATION),
        ("RESHAPE", Dependence.SHAPE),
        ("TRANSPOSE", Dependence.SHAPE),
        ("SQUEEZE", Dependence.SHAPE),
        ("TANH", Dependence.OTHER),
    ],
)
def test_how_outputs_depend_on_inputs(name: str, wanted: Dependence, tmp_path: Path) -> None:
    model = open_model(write_single(name, SINGLES[name], tmp_path / "single.tflite"))
    (operator,) = model.operators
    assert (operator.code, operator.dependence) == (name, wanted)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("BATCH_MATMUL of weights", (2, 1)),
        ("CONV_3D", (4, 3)),
        ("TRANSPOSE_CONV", (0, 3)),
        ("BATCH_MATMUL", None),
    ],
)
def test_axes_of_weights(name: str, axes: tuple[int, int] | None, tmp_path: Path) -> None:
    model = open_model(write_single(name, SINGLES[name], tmp_path / "single.tflite"))
    weights = model.operators[0].weights
    assert axes == (None if weights is None else (weights.output_axis, weights.input_axis))


def test_a_mean_over_channels_mixes_them_and_groups_are_seen(tmp_path: Path) -> None:
    b = Builder("grouped")
    x = b.input("x", DType.FLOAT32, (1, 4, 4, 4))
    x = b.op("CONV_2D", x, b.constant(draw(6, 1, 1, 2)), padding="SAME")
    graph = close(b, {"y": b.op("MEAN", x, axes=(3,))})
    conv, mean = open_model(write(graph, tmp_path, metadata={})).operators
    assert conv.weights is not None
    assert conv.weights.is_grouped
    assert mean.dependence == Dependence.OTHER


def test_every_float_activation_is_observed_and_changes_with_the_weights(tmp_path: Path) -> None:
    path = write(network(is_dynamic=True), tmp_path)
    before = path.read_bytes()
    model = open_model(path)
    inputs = {"image": draw(3, 8, 8, 3)}
    first = {name: value.copy() for name, value in model.observe(inputs).items()}
    assert first.keys() == {"image", *(o.name for o in model.operators)}
    assert first["conv_2d"].shape == (3, 8, 8, 8)
    weights = model.operators[5].weights
    assert weights is not None
    old = model.constant(weights.tensor)
    assert old is not None
    model.set_constant(weights.tensor, np.asarray(old * 2))
    second = model.observe(inputs)
    np.testing.assert_array_equal(second["mean"], first["mean"])
    assert snr_db(first["logits"], second["logits"]) < 10
    model.save(tmp_path / "saved.tflite")
    saved = open_model(tmp_path / "saved.tflite")
    np.testing.assert_array_equal(saved.observe(inputs)["logits"], second["logits"])
    handler = load_handler("tflite")
    assert handler.read_metadata(tmp_path / "saved.tflite") == handler.read_metadata(path)
    assert path.read_bytes() == before


def test_activations_between_delegated_operators_are_right(tmp_path: Path) -> None:
    path = write(network(), tmp_path)
    image = draw(1, 8, 8, 3)
    observed = open_model(path).observe({"image": image})
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, image)
    interpreter.invoke()
    for detail in interpreter.get_tensor_details():
        if detail["name"] in observed:
            value = interpreter.get_tensor(detail["index"])
            assert snr_db(value, observed[detail["name"]]) > 100


def test_a_model_may_be_saved_over_its_own_file(tmp_path: Path) -> None:
    path = write(network(), tmp_path)
    model = open_model(path)
    inputs = {"image": draw(1, 8, 8, 3)}
    before = model.observe(inputs)["logits"].copy()
    weights = model.operators[0].weights
    assert weights is not None
    old = model.constant(weights.tensor)
    assert old is not None
    model.set_constant(weights.tensor, np.zeros_like(old))
    model.save(path)
    assert snr_db(before, open_model(path).observe(inputs)["logits"]) < 10
    model.set_constant(weights.tensor, old)
    np.testing.assert_array_equal(model.observe(inputs)["logits"], before)


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = open_model(write(network(), tmp_path))
    with pytest.raises(InvalidInputError):
        model.observe({"image": draw(1, 8, 8, 4)})


def test_a_constant_keeps_its_shape_and_dtype(tmp_path: Path) -> None:
    model = open_model(write(network(), tmp_path))
    with pytest.raises(InternalError, match="image"):
        model.set_constant("image", draw(1))
    weights = model.operators[0].weights
    assert weights is not None
    with pytest.raises(InternalError):
        model.set_constant(weights.tensor, draw(1))
    assert model.constant("image") is None
    assert model.constant("nothing of this name") is None


@pytest.mark.parametrize("name", ["int8", "int8-dynamic", "fp16", "int4-weights"])
def test_a_quantized_file_is_refused(name: str, tmp_path: Path) -> None:
    model = open_model(write(network(), tmp_path))
    ranges = measure_ranges(model, [{"image": draw(1, 8, 8, 3)}])
    target = tmp_path / "q.tflite"
    model.quantize(QuantizationPlan(default=RECIPES[name].precision, ranges=ranges), target)
    with pytest.raises(InvalidInputError, match="quantized already") as caught:
        open_model(target)
    assert {"int8": "int8", "int8-dynamic": "int8", "fp16": "float16", "int4-weights": "int4"}[
        name
    ] in caught.value.why


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(network(), tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InvalidInputError, match="no intact TFLite file"):
        open_model(path)


def test_a_file_that_is_damaged_inside_is_refused(tmp_path: Path) -> None:
    """Every place where one bit decides whether it can be read at all: what is wrong there says so, and is no bug."""
    path = write(network(), tmp_path)
    content = path.read_bytes()
    told = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :])
        try:
            reading.read_float(path)
        except InvalidInputError:
            told += 1
    assert told > 5


def test_a_file_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(network(), tmp_path)
    monkeypatch.setattr(reading, "LARGEST_FLATBUFFER", 1000)
    with pytest.raises(InvalidInputError, match="too large"):
        open_model(path)


def test_a_bias_beside_weights_that_are_almost_zero_survives(tmp_path: Path) -> None:
    """The integer of such a bias overflows with the scale that its weights alone would have."""
    weights = draw(3, 4, seed=1)
    weights[0] = 0
    weights[1] *= 1e-9
    b = Builder("dead")
    x = b.input("x", DType.FLOAT32, (8, 4))
    bias = np.asarray([5, -7, 1], np.float32)
    y = b.op("FULLY_CONNECTED", x, b.constant(weights), b.constant(bias))
    model = open_model(write(close(b, {"y": y}), tmp_path, metadata={}))
    inputs = {"x": draw(8, 4)}
    ranges = measure_ranges(model, [inputs])
    for activations in ("int8", "int16"):
        precision = Precision(weights="int8", activations=activations)
        model.quantize(QuantizationPlan(default=precision, ranges=ranges), tmp_path / "q.tflite")
        got = model.observe_quantized(tmp_path / "q.tflite", inputs)["y"]
        step = (ranges["y"].high - ranges["y"].low) / 255
        np.testing.assert_allclose(got[:, :2].mean(0), bias[:2], atol=2 * step)


def test_an_output_that_the_last_operator_reads_is_right(tmp_path: Path) -> None:
    b = Builder("twice")
    x = b.input("x", DType.FLOAT32, (2, 6))
    y = b.op("TANH", x)
    model = open_model(write(close(b, {"y": y, "z": b.op("MUL", y, y)}), tmp_path, metadata={}))
    inputs = {"x": draw(2, 6)}
    plan = QuantizationPlan(
        default=RECIPES["int8"].precision, ranges=measure_ranges(model, [inputs])
    )
    wanted = {name: value.copy() for name, value in model.observe(inputs).items()}
    model.quantize(plan, tmp_path / "q.tflite")
    got = model.observe_quantized(tmp_path / "q.tflite", inputs)
    assert min(snr_db(wanted[name], got[name]) for name in ("y", "z")) > 30


def test_an_input_that_is_an_output_and_integers_are_left_alone(tmp_path: Path) -> None:
    b = Builder("through")
    x = b.input("x", DType.FLOAT32, (2, 6))
    ids = b.input("ids", DType.INT32, (2,))
    y = b.op("GATHER", b.constant(draw(9, 6)), ids, axis=0)
    outputs = {"y": b.op("ADD", x, y), "next": b.op("ADD", ids, b.constant(np.ones(2, np.int32)))}
    model = open_model(write(close(b, outputs), tmp_path, metadata={}))
    inputs = {"x": draw(2, 6), "ids": np.asarray([3, 8], np.int32)}
    ranges = measure_ranges(model, [inputs])
    assert "ids" not in ranges
    wanted = model.observe(inputs)["y"].copy()
    for io in (DType.FLOAT32, DType.INT8, DType.UINT8):
        plan = QuantizationPlan(default=RECIPES["int8"].precision, ranges=ranges, io=io)
        model.quantize(plan, tmp_path / "q.tflite")
        signature = load_handler("tflite").read_signature(tmp_path / "q.tflite")
        assert [s.dtype for s in signature.inputs] == [io, DType.INT32]
        assert [s.dtype for s in signature.outputs] == [io, DType.INT32]
        got = model.observe_quantized(tmp_path / "q.tflite", inputs)["y"]
        assert snr_db(wanted, got) > 30


def test_a_tensor_may_be_two_outputs(tmp_path: Path) -> None:
    b = Builder("both")
    x = b.input("x", DType.FLOAT32, (2, 6))
    path = write(close(b, {"y": b.op("TANH", x)}), tmp_path, metadata={})
    tables = unpack_model(path)
    graph, (definition,) = tables.subgraphs[0], tables.signatureDefs
    second = copy.copy(definition.outputs[0])
    second.name = "z"
    definition.outputs.append(second)
    graph.outputs = [*graph.outputs, *graph.outputs]
    pack_model(tables, path)
    model = open_model(path)
    inputs = {"x": draw(2, 6)}
    ranges = measure_ranges(model, [inputs])
    wanted = model.observe(inputs)["z"].copy()
    for io in (DType.FLOAT32, DType.UINT8):
        plan = QuantizationPlan(default=RECIPES["int8"].precision, ranges=ranges, io=io)
        model.quantize(plan, tmp_path / "q.tflite")
        signature = load_handler("tflite").read_signature(tmp_path / "q.tflite")
        assert [(s.name, s.dtype) for s in signature.outputs] == [("y", io), ("z", io)]
        got = model.observe_quantized(tmp_path / "q.tflite", inputs)
        assert snr_db(wanted, got["z"]) > 30


@pytest.mark.parametrize(
    "recipe", sorted(set(RECIPES) - {"int4-weights-b128", "int4-weights-b256"})
)
@pytest.mark.parametrize("kept", ["", "gather", "logits"])
def test_a_table_that_a_matrix_product_shares(recipe: str, kept: str, tmp_path: Path) -> None:
    """As embeddings are tied to the last layer; the two may have different precisions."""
    b = Builder("tied")
    ids = b.input("ids", DType.INT32, (3,))
    table = b.constant(draw(40, 64))
    hidden = b.op("TANH", b.op("GATHER", table, ids, axis=0))
    logits = b.op("FULLY_CONNECTED", hidden, table)
    model = open_model(write(close(b, {"logits": logits}), tmp_path, metadata={}))
    inputs = {"ids": np.asarray([1, 5, 7], np.int32)}
    ranges = measure_ranges(model, [inputs])
    wanted = model.observe(inputs)["logits"].copy()
    plan = QuantizationPlan(
        default=RECIPES[recipe].precision,
        operators={kept: FLOAT32} if kept else {},
        ranges=ranges,
    )
    result = model.quantize(plan, tmp_path / "q.tflite")
    got = model.observe_quantized(tmp_path / "q.tflite", inputs)["logits"]
    assert snr_db(wanted, got) > (15 if "int4" in recipe else 35)
    if kept:
        assert result.precisions[kept] == FLOAT32
    elif recipe.startswith("int"):
        assert result.precisions["gather"].weights == RECIPES[recipe].precision.weights


def test_what_loops_do_stays_float_and_names_that_occur_twice_do_not_matter(
    tmp_path: Path,
) -> None:
    path = write(network(), tmp_path)
    tables = unpack_model(path)
    tables.subgraphs.append(tables.subgraphs[0])
    pack_model(tables, path)
    model = open_model(path)
    inputs = {"image": draw(1, 8, 8, 3)}
    ranges = measure_ranges(model, [inputs])
    plan = QuantizationPlan(default=RECIPES["int8"].precision, ranges=ranges)
    result = model.quantize(plan, tmp_path / "q.tflite")
    assert result.warnings == ("what loops and branches do stays in float32: 1 inner graph",)
    main, inner = unpack_model(tmp_path / "q.tflite").subgraphs
    types = [{t.type for t in graph.tensors} for graph in (main, inner)]
    assert schema.TensorType.INT8 in types[0]
    assert schema.TensorType.INT8 not in types[1]
    wanted = model.observe(inputs)["logits"].copy()
    assert snr_db(wanted, model.observe_quantized(tmp_path / "q.tflite", inputs)["logits"]) > 35


def test_a_range_that_is_clipped_saturates(tmp_path: Path) -> None:
    model = open_model(write(network(), tmp_path))
    inputs = {"image": draw(1, 8, 8, 3)}
    ranges = measure_ranges(model, [inputs])
    ranges["conv_2d"] = Range(low=0.0, high=ranges["conv_2d"].high / 2)
    plan = QuantizationPlan(default=RECIPES["int8"].precision, ranges=ranges)
    model.quantize(plan, tmp_path / "q.tflite")
    got = model.observe_quantized(tmp_path / "q.tflite", inputs)["conv_2d"]
    assert got.max() == pytest.approx(ranges["conv_2d"].high, rel=1e-5)


@pytest.mark.parametrize("recipe", ["int8", "int16x8"])
def test_a_mask_with_infinity_leaves_its_operator_in_float(recipe: str, tmp_path: Path) -> None:
    """The integers that ai-edge-quantizer makes of one end the process that runs them."""
    b = Builder("masked")
    x = b.input("x", DType.FLOAT32, (2, 6))
    mask = np.where(np.arange(6) > 3, -np.inf, 0).astype(np.float32)
    graph = close(b, {"y": b.op("SOFTMAX", b.op("ADD", x, b.constant(mask)))})
    model = open_model(write(graph, tmp_path, metadata={}))
    inputs = {"x": draw(2, 6)}
    finite = {name: Range(low=-4, high=4) for name in measure_ranges(model, [inputs])}
    plan = QuantizationPlan(default=RECIPES[recipe].precision, ranges=finite)
    made = model.quantize(plan, tmp_path / "q.tflite")
    assert made.precisions["add"] == FLOAT32
    assert "infinite or NaN" in made.reasons["add"]
    assert made.precisions["y"] != FLOAT32
    with load_handler("tflite").open(tmp_path / "q.tflite") as session:
        got = session.run(inputs).outputs["y"]
    assert snr_db(model.observe(inputs)["y"], got) > 25


def test_an_output_that_never_differs_from_zero_runs(tmp_path: Path) -> None:
    """Its scale would be that of nothing, and XNNPACK refuses to rescale products by so much."""
    b = Builder("closed")
    x = b.input("x", DType.FLOAT32, (4, 8))
    never, bias = b.constant(draw(5, 8, seed=1)), b.constant(np.full(5, -100, np.float32))
    y = b.op("FULLY_CONNECTED", x, never, bias, fused_activation_function="RELU")
    z = b.op("FULLY_CONNECTED", x, b.constant(draw(5, 8, seed=2)), b.constant(draw(5)))
    model = open_model(write(close(b, {"y": y, "z": z}), tmp_path, metadata={}))
    inputs = {"x": draw(4, 8)}
    plan = QuantizationPlan(
        default=RECIPES["int8"].precision, ranges=measure_ranges(model, [inputs])
    )
    model.quantize(plan, tmp_path / "q.tflite")
    with load_handler("tflite").open(tmp_path / "q.tflite") as session:
        got = session.run(inputs).outputs
    np.testing.assert_array_equal(got["y"], 0)
    assert snr_db(model.observe(inputs)["z"], got["z"]) > 30
