"""A small network in each recipe: what it computes, what it takes and gives, what it says of itself."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_quantizer")

from ai_edge_litert import schema_py_generated as schema

from edgeconv.errors import ConversionError
from edgeconv.formats import load_handler
from edgeconv.formats.tflite_stamp import pack_model, unpack_model
from edgeconv.plugin.quantizer import FLOAT32, Precision, QuantizationPlan, Range
from edgeconv.quantization.recipes import RECIPES
from edgeconv.signature import DType
from edgeconv_converters.ai_edge_quantizer import SPEC
from edgeconv_converters.ai_edge_quantizer.float_model import LiteRtModel
from edgeconv_converters.ai_edge_quantizer.worker import open_model
from tests.converters.ai_edge_quantizer.graphs import Array, draw, measure_ranges, network, snr_db
from tests.converters.ai_edge_quantizer.graphs import write as write_graph

pytestmark = [pytest.mark.integration]

_SAMPLES = [{"image": draw(4, 8, 8, 3, seed=seed)} for seed in range(4)]
_INT8 = RECIPES["int8"].precision
_INT16 = RECIPES["int16x8"].precision
# At the logits of the network.
_LEAST_SNR_DB = {
    "fp16": 60,
    "int8": 36,
    "int8-dynamic": 40,
    "int8-weights": 42,
    "int16x8": 42,
    "int4-weights": 15,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(network(is_dynamic=True), tmp_path_factory.mktemp("network"))


@pytest.fixture
def model(path: Path) -> LiteRtModel:
    return open_model(path)


@pytest.fixture(scope="module")
def ranges(path: Path) -> Mapping[str, Range]:
    return measure_ranges(open_model(path), _SAMPLES)


def _run(path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    with load_handler("tflite").open(path) as session:
        return session.run(inputs).outputs


@pytest.mark.parametrize("name", _LEAST_SNR_DB)
def test_a_recipe_computes_what_the_model_does(
    name: str, path: Path, model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    plan = QuantizationPlan(default=RECIPES[name].precision, ranges=ranges)
    target = tmp_path / "quantized.tflite"
    model.quantize(plan, target)
    wanted, got = (_run(file, _SAMPLES[0]) for file in (path, target))
    assert got.keys() == wanted.keys()
    assert snr_db(wanted["logits"], got["logits"]) >= _LEAST_SNR_DB[name]
    facts = load_handler("tflite").read_metadata(target)
    assert facts["precision"] == name
    assert facts["author"] == "Ann Example"
    with zipfile.ZipFile(target) as archive:
        assert archive.read("labels.txt").decode().split() == list("abcde")
    assert load_handler("tflite").read_signature(target) == model.signature


def test_a_damaged_scale_is_caught(
    path: Path, model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    target = tmp_path / "quantized.tflite"
    model.quantize(QuantizationPlan(default=_INT8, ranges=ranges), target)
    tables = unpack_model(target)
    tensors = {t.name: t for t in tables.subgraphs[0].tensors}
    weights = model.operators[5].weights
    assert weights is not None
    damaged = tensors[weights.tensor.encode()]
    damaged.quantization.scale = damaged.quantization.scale * 2
    pack_model(tables, target)
    wanted = _run(path, _SAMPLES[0])["logits"]
    assert snr_db(wanted, _run(target, _SAMPLES[0])["logits"]) < 20
    got = model.observe_quantized(target, _SAMPLES[0])["logits"]
    assert snr_db(wanted, got) < 20


def test_static_int8_leaves_no_float_inside(
    model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    target = tmp_path / "quantized.tflite"
    result = model.quantize(QuantizationPlan(default=_INT8, ranges=ranges), target)
    assert set(result.precisions.values()) == {_INT8}
    assert not result.reasons
    assert result.versions.keys() == {"ai-edge-litert", "ai-edge-quantizer"}
    graph = unpack_model(target).subgraphs[0]
    ends = {*graph.inputs, *graph.outputs}
    is_float = [t.type == schema.TensorType.FLOAT32 for t in graph.tensors]
    assert {index for index, value in enumerate(is_float) if value} == ends


@pytest.mark.parametrize(
    "asked",
    [(name, io) for name in ("int8", "int16x8") for io in (DType.INT8, DType.UINT8)],
)
def test_inputs_and_outputs_are_of_the_dtype_that_is_asked(
    asked: tuple[str, DType],
    path: Path,
    model: LiteRtModel,
    ranges: Mapping[str, Range],
    tmp_path: Path,
) -> None:
    target = tmp_path / "quantized.tflite"
    name, io = asked
    plan = QuantizationPlan(default=RECIPES[name].precision, ranges=ranges, io=io)
    model.quantize(plan, target)
    signature = load_handler("tflite").read_signature(target)
    assert [s.name for s in signature.outputs] == ["logits", "scores"]
    assert {s.dtype for s in (*signature.inputs, *signature.outputs)} == {io}
    assert [s.shape for s in signature.inputs] == [s.shape for s in model.signature.inputs]
    wanted = _run(path, _SAMPLES[1])
    got = model.observe_quantized(target, _SAMPLES[1])
    assert snr_db(wanted["logits"], got["logits"]) > 35
    image, scores = (_scale(target, name) for name in ("image", "scores"))
    assert scores[0] < 1 / 250
    raw = np.rint(_SAMPLES[1]["image"] / image[0]) + image[1]
    low, high = np.iinfo(io.value).min, np.iinfo(io.value).max
    outputs = _run(target, {"image": np.clip(raw, low, high).astype(io.value)})
    got_scores = (outputs["scores"].astype(np.float32) - scores[1]) * scores[0]
    assert np.abs(got_scores - wanted["scores"].astype(np.float32)).max() < 0.03


def _scale(path: Path, name: str) -> tuple[float, int]:
    tensors = unpack_model(path).subgraphs[0].tensors
    found = next(t.quantization for t in tensors if t.name == name.encode())
    return float(found.scale[0]), int(found.zeroPoint[0])


@pytest.mark.parametrize("name", ["int8", "int8-dynamic", "fp16"])
def test_a_dynamic_batch_stays_dynamic(
    name: str, path: Path, model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    target = tmp_path / "quantized.tflite"
    plan = QuantizationPlan(default=RECIPES[name].precision, ranges=ranges)
    model.quantize(plan, target)
    for batch in (1, 7):
        inputs = {"image": draw(batch, 8, 8, 3, seed=batch)}
        wanted, got = (_run(file, inputs)["logits"] for file in (path, target))
        assert got.shape == (batch, 5)
        assert snr_db(wanted, got) > 30


def test_the_same_plan_gives_the_same_bytes(
    path: Path, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    files = [tmp_path / "first.tflite", tmp_path / "second.tflite"]
    for io, precision in ((DType.UINT8, _INT16), (DType.FLOAT32, _INT8)):
        for file in files:
            plan = QuantizationPlan(default=precision, ranges=ranges, io=io)
            open_model(path).quantize(plan, file)
        assert files[0].read_bytes() == files[1].read_bytes()


def test_operators_may_have_precisions_of_their_own(
    path: Path, model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    target = tmp_path / "quantized.tflite"
    own = {
        "depthwise_conv_2d": _INT16,
        "max_pool_2d": FLOAT32,
        "logits": RECIPES["fp16"].precision,
    }
    plan = QuantizationPlan(default=_INT8, operators=own, ranges=ranges)
    result = model.quantize(plan, target)
    assert {n: p for n, p in result.precisions.items() if p != _INT8} == {
        **own,
        "logits": Precision(weights="float16"),
    }
    tensors = {t.name.decode(): t for t in unpack_model(target).subgraphs[0].tensors}
    types = [tensors[name].type for name in ("conv_2d", "depthwise_conv_2d", "max_pool_2d")]
    kinds = schema.TensorType
    assert types == [kinds.INT8, kinds.INT16, kinds.FLOAT32]
    wanted = _run(path, _SAMPLES[2])["logits"]
    assert snr_db(wanted, _run(target, _SAMPLES[2])["logits"]) > 36
    seen = model.observe_quantized(target, _SAMPLES[2])
    assert seen.keys() == ranges.keys()


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture_of_precisions_computes_what_the_model_does(
    seed: int, path: Path, model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    names = ("int8", "int16x8", "int8-dynamic", "int8-weights", "fp16")
    choices = [FLOAT32, *(RECIPES[name].precision for name in names)]
    chance = random.Random(seed)
    plan = QuantizationPlan(
        default=FLOAT32,
        operators={one.name: chance.choice(choices) for one in model.operators},
        ranges=ranges,
        io=chance.choice([DType.FLOAT32, DType.INT8, DType.UINT8]),
    )
    result = model.quantize(plan, tmp_path / "q.tflite")
    wanted = _run(path, _SAMPLES[0])
    got = model.observe_quantized(tmp_path / "q.tflite", _SAMPLES[0])
    assert got.keys() == ranges.keys()
    assert snr_db(wanted["logits"], got["logits"]) > 32
    for name, precision in result.precisions.items():
        same = plan.operators[name].activations == precision.activations
        assert same or name in result.reasons or precision.weights == "float16"


def test_an_operator_without_a_kernel_stays_float_with_a_reason(
    model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    plan = QuantizationPlan(default=RECIPES["int8-dynamic"].precision, ranges=ranges)
    result = model.quantize(plan, tmp_path / "quantized.tflite")
    assert result.reasons == dict.fromkeys(
        ("add", "max_pool_2d", "mean", "scores"), "it has no constant weights"
    )
    assert result.precisions["add"] == FLOAT32
    plan = QuantizationPlan(default=RECIPES["int4-weights"].precision)
    result = model.quantize(plan, tmp_path / "quantized.tflite")
    assert "no int4-weights kernel for DEPTHWISE_CONV_2D" in result.reasons["depthwise_conv_2d"]


def test_weights_in_blocks_must_fall_into_them(model: LiteRtModel, tmp_path: Path) -> None:
    plan = QuantizationPlan(default=RECIPES["int4-weights-b32"].precision)
    result = model.quantize(plan, tmp_path / "quantized.tflite")
    assert result.reasons["logits"] == "its 8 inputs do not fall into blocks of 32"


def test_ranges_that_are_missing_are_all_listed(
    model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    damaged = {name: ranges[name] for name in ranges if name not in ("add", "mean")}
    with pytest.raises(ConversionError) as caught:
        model.quantize(QuantizationPlan(default=_INT8, ranges=damaged), tmp_path / "q.tflite")
    assert {line.partition(" ")[0] for line in caught.value.details} == {"'add'", "'mean'"}
    assert not (tmp_path / "q.tflite").exists()


@pytest.mark.parametrize("low", [-np.inf, np.nan, -3.4e38])
def test_what_has_no_bounds_stays_float(
    low: float, path: Path, model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    damaged = {**ranges, "add": Range(low=low, high=1)}
    target = tmp_path / "q.tflite"
    result = model.quantize(QuantizationPlan(default=_INT8, ranges=damaged), target)
    assert result.reasons.keys() == {"add", "max_pool_2d"}
    assert "'add' goes from" in result.reasons["add"]
    assert result.precisions["add"] == FLOAT32
    wanted, got = (_run(file, _SAMPLES[0])["logits"] for file in (path, target))
    assert snr_db(wanted, got) > 36


def test_weights_get_smaller(
    model: LiteRtModel, ranges: Mapping[str, Range], path: Path, tmp_path: Path
) -> None:
    def stored(file: Path) -> int:
        tables = unpack_model(file)
        kept = {entry.buffer for entry in tables.metadata}
        return sum(b.size_bytes for i, b in enumerate(tables.buffers) if i not in kept)

    before = stored(path)
    for name, share in (("fp16", 0.65), ("int8-weights", 0.6), ("int8", 0.6)):
        plan = QuantizationPlan(default=RECIPES[name].precision, ranges=ranges)
        model.quantize(plan, tmp_path / "q.tflite")
        assert stored(tmp_path / "q.tflite") < share * before, name


def test_the_oldest_runtime_follows_the_precision(
    model: LiteRtModel, ranges: Mapping[str, Range], tmp_path: Path
) -> None:
    found = {}
    for name in ("int8", "int16x8", "int8-dynamic"):
        plan = QuantizationPlan(default=RECIPES[name].precision, ranges=ranges)
        model.quantize(plan, tmp_path / "q.tflite")
        found[name] = load_handler("tflite").read_metadata(tmp_path / "q.tflite")[
            "min_runtime_version"
        ]
    assert found == {"int8": "1.14.0", "int16x8": "2.4.0", "int8-dynamic": "2.17.0"}


def test_the_spec_names_recipes_that_exist() -> None:
    assert set(SPEC.recipes) == set(RECIPES)
    assert all(module.partition(".")[0] != "edgeconv" for module in SPEC.requires)
