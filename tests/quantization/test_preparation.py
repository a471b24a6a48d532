"""Each step of the preparation on real files of both formats: what it keeps, and what it makes better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.graph import Builder, Graph
from edgeconv.plugin.quantizer import FLOAT32, FloatModel, QuantizationPlan
from edgeconv.quantization.calibration import Statistics, calibrate
from edgeconv.quantization.evaluation import snr_db
from edgeconv.quantization.observers import find_observer, observe_min_max
from edgeconv.quantization.plans import make_plan
from edgeconv.quantization.preparation.bias import correct_biases
from edgeconv.quantization.preparation.clipping import clip_outliers
from edgeconv.quantization.preparation.concatenations import find_mixed_outputs
from edgeconv.quantization.preparation.equalization import equalize_channels
from edgeconv.quantization.preparation.infinities import bound_infinities
from edgeconv.quantization.preparing import ALL_STEPS, Preparer, Step
from edgeconv.quantization.recipes import RECIPES
from edgeconv.quantization.weights import as_rows, round_weights
from edgeconv.signature import DType
from tests.converters.ai_edge_quantizer.graphs import close, draw
from tests.quantization.nets import BOTH, SCALES, images, opener, rescaled, samples

pytest.importorskip("ai_edge_quantizer")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.integration, pytest.mark.parametrize("format_id", BOTH)]

Array = NDArray[np.generic]
INT8 = RECIPES["int8"].precision
INT4 = RECIPES["int4-weights"].precision
ONE = np.ones(8)


def outputs(model: FloatModel, values: Array) -> NDArray[np.float64]:
    seen = [model.observe({"image": row[None]})["y"].astype(np.float64) for row in values]
    return np.concatenate(seen)


def statistics_of(model: FloatModel, values: Array) -> Statistics:
    dataset = samples(model, {"image": values})
    return calibrate(model, dataset, range(dataset.count))


def quantized_snr(graph: Graph, folder: Path, format_id: str, steps: frozenset[Step]) -> float:
    """Of an int8 file that is calibrated by its least and greatest values."""
    opened = opener(graph, folder, format_id)
    model = opened()
    dataset = samples(model, {"image": images()})
    preparer = Preparer(
        open_model=opened, dataset=dataset, indices=range(dataset.count), precision=INT8
    )
    ready = preparer.prepare(steps)
    plan = make_plan(
        INT8,
        ready.operators,
        statistics=ready.statistics,
        observer=find_observer("min-max"),
        model=ready.model,
    )
    path = folder / f"quantized.{format_id}"
    ready.model.quantize(plan, path)
    held_out = images(8, seed=9)
    got = [ready.model.observe_quantized(path, {"image": row[None]})["y"] for row in held_out]
    return snr_db(outputs(model, held_out), np.concatenate(got))


def test_equalization_keeps_the_function_and_evens_the_ranges(
    tmp_path: Path, format_id: str
) -> None:
    opened = opener(rescaled(SCALES), tmp_path, format_id)
    model, original = opened(), opened()
    before = statistics_of(model, images())
    assert equalize_channels(model, statistics_of(model, images())) == 1
    after = statistics_of(model, images())
    values = images(4, seed=3)
    assert snr_db(outputs(original, values), outputs(model, values)) > 100
    (between,) = [
        n for n in before.channels if n != "image" and len(before.channels[n].largest) == 8
    ]
    spread = [np.ptp(np.log10(s.channels[between].largest)) for s in (before, after)]
    assert spread[0] > 2
    assert spread[1] < 0.7


def test_rescaled_channels_recover(tmp_path: Path, format_id: str) -> None:
    even = quantized_snr(rescaled(ONE), tmp_path / "even", format_id, frozenset())
    plain = quantized_snr(rescaled(SCALES), tmp_path / "plain", format_id, frozenset())
    prepared = quantized_snr(rescaled(SCALES), tmp_path / "prepared", format_id, ALL_STEPS)
    assert plain < even - 5
    assert prepared > even - 2


@pytest.mark.parametrize("between", ["TANH", "RELU6"])
def test_what_no_factor_passes_is_left_alone(tmp_path: Path, format_id: str, between: str) -> None:
    model = opener(rescaled(SCALES, between=between), tmp_path, format_id)()
    assert equalize_channels(model, statistics_of(model, images())) == 0


def _product(weights: NDArray[np.float32], *, layers: int = 1) -> Graph:
    """Products with weights, each with a bias of zeros."""
    b = Builder("product")
    x = b.input("image", DType.FLOAT32, (1, 8, 8, 3))
    x = b.op("RESHAPE", x, shape=(1, 192))
    for _ in range(layers):
        x = b.op(
            "FULLY_CONNECTED",
            x,
            b.constant(weights),
            b.constant(np.zeros(len(weights), np.float32)),
        )
        x = b.op("TANH", x) if layers > 1 else x
    return close(b, {"y": x})


def _weights_of(model: FloatModel) -> tuple[str, str, int]:
    weights = next(one.weights for one in model.operators if one.weights is not None)
    return weights.tensor, weights.bias, weights.output_axis


def test_bias_correction_takes_the_mean_shift_back(tmp_path: Path, format_id: str) -> None:
    opened = opener(_product(draw(6, 192, seed=1, scale=0.2)), tmp_path, format_id)
    model, values = opened(), images(64)
    wanted = outputs(model, values).mean(axis=0)
    tensor, _, axis = _weights_of(model)
    original = model.constant(tensor)
    assert original is not None
    plan = QuantizationPlan(default=INT4)

    def shift(*, is_corrected: bool) -> float:
        ready = opened()
        if is_corrected:
            known = statistics_of(ready, values)
            assert correct_biases(ready, known, plan, {tensor: original}) == 1
        rounded = round_weights(as_rows(original, axis), 4)
        moved = np.moveaxis(rounded.reshape(np.moveaxis(original, axis, 0).shape), 0, axis)
        ready.set_constant(tensor, np.ascontiguousarray(moved, dtype=original.dtype))
        return float(np.abs(outputs(ready, values).mean(axis=0) - wanted).max())

    assert shift(is_corrected=False) > 0.05
    assert shift(is_corrected=True) < 1e-4


def test_clipping_leaves_a_smaller_error_of_weights(tmp_path: Path, format_id: str) -> None:
    weights = draw(6, 192, seed=1, scale=0.2)
    weights[:, 0] *= 12
    model = opener(_product(weights), tmp_path, format_id)()
    tensor, _, axis = _weights_of(model)
    original = model.constant(tensor)
    assert original is not None
    rows = as_rows(original, axis)
    assert clip_outliers(model, QuantizationPlan(default=INT4)) == 1
    clipped = model.constant(tensor)
    assert clipped is not None
    errors = [
        np.square(round_weights(as_rows(w, axis), 4) - rows).sum() for w in (original, clipped)
    ]
    assert errors[1] < 0.9 * errors[0]
    even = opener(_product(np.sign(draw(6, 192, seed=2))), tmp_path / "even", format_id)()
    assert clip_outliers(even, QuantizationPlan(default=INT4)) == 0


def _masked(least: float) -> Graph:
    """A mask of a number that stands for minus infinity, before a softmax."""
    mask = np.zeros((1, 8), np.float32)
    mask[:, 5:] = least
    b = Builder("masked")
    x = b.input("image", DType.FLOAT32, (1, 8))
    return close(b, {"y": b.op("SOFTMAX", b.op("ADD", x, b.constant(mask)))})


@pytest.mark.parametrize("least", [-np.inf, float(np.finfo(np.float32).min), -1e10])
def test_infinities_become_finite_and_nothing_else_changes(
    tmp_path: Path, format_id: str, least: float
) -> None:
    opened = opener(_masked(least), tmp_path, format_id)
    model, values = opened(), np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    assert bound_infinities(model, statistics_of(model, values)) == 1
    assert np.abs(outputs(model, values) - outputs(opened(), values)).max() < 1e-8
    known = statistics_of(model, values)
    assert max(one.low for one in known.histograms.values()) > -100
    assert min(one.low for one in known.histograms.values()) > -100
    assert not any(one.infinities for one in known.histograms.values())


def _detector(ratio: float, *, is_read_further: bool = False) -> Graph:
    """Boxes and scores side by side."""
    b = Builder("detector")
    x = b.input("image", DType.FLOAT32, (1, 16))
    boxes = b.op("FULLY_CONNECTED", x, b.constant(draw(4, 16, seed=1) * np.float32(ratio)), None)
    scores = b.op("LOGISTIC", b.op("FULLY_CONNECTED", x, b.constant(draw(2, 16, seed=2)), None))
    both = b.op("CONCATENATION", boxes, scores, axis=1)
    y = b.op("RESHAPE", both, shape=(6,))
    return close(b, {"y": b.op("TANH", y) if is_read_further else y})


def test_parts_of_different_ranges_are_told_from_others(tmp_path: Path, format_id: str) -> None:
    found = {}
    for name, graph in {
        "mixed": _detector(100),
        "alike": _detector(0.1),
        "inside": _detector(100, is_read_further=True),
    }.items():
        model = opener(graph, tmp_path / name, format_id)()
        values = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
        ranges = statistics_of(model, values).ranges(observe_min_max, {})
        found[name] = [one.code for one in find_mixed_outputs(model, ranges)]
    assert found["alike"] == found["inside"] == []
    assert {code.upper() for code in found["mixed"]} & {"CONCATENATION", "CONCAT"}
    assert len(found["mixed"]) == 2  # with the reshape that leads to the output


def test_a_mixed_concatenation_stays_float(tmp_path: Path, format_id: str) -> None:
    opened = opener(_detector(100), tmp_path, format_id)
    dataset = samples(opened(), {"image": draw(40, 16, seed=5)})
    preparer = Preparer(
        open_model=opened, dataset=dataset, indices=range(dataset.count), precision=INT8
    )
    kept = preparer.prepare(ALL_STEPS).operators
    assert len(kept) == 2
    assert set(kept.values()) == {FLOAT32}
    assert preparer.prepare(frozenset({Step.CLIP})).operators == {}


def test_constants_of_the_same_bytes_change_one_by_one(tmp_path: Path, format_id: str) -> None:
    """Writers store equal constants once; a bias of zeros is often that of many layers."""
    model = opener(_product(draw(192, 192, seed=1, scale=0.05), layers=2), tmp_path, format_id)()
    biases = list(dict.fromkeys(one.weights.bias for one in model.operators if one.weights))
    weights = list(dict.fromkeys(one.weights.tensor for one in model.operators if one.weights))
    for first, *others in (biases, weights):
        value = model.constant(first)
        assert value is not None
        model.set_constant(first, value + 1)
        for other in others:
            np.testing.assert_array_equal(model.constant(other), value)  # type: ignore[arg-type]  # it is there


def test_a_bias_that_several_operators_read_is_left_alone(tmp_path: Path, format_id: str) -> None:
    b = Builder("shared")
    x = b.input("image", DType.FLOAT32, (1, 16))
    bias = b.constant(draw(16, seed=1))
    for seed in (2, 3):
        x = b.op("FULLY_CONNECTED", x, b.constant(draw(16, 16, seed=seed)), bias)
        x = b.op("TANH", x)
    model = opener(close(b, {"y": x}), tmp_path, format_id)()
    originals = {
        one.weights.tensor: model.constant(one.weights.tensor)
        for one in model.operators
        if one.weights
    }
    known = statistics_of(model, draw(20, 16, seed=9))
    changed = correct_biases(model, known, QuantizationPlan(default=INT4), originals)
    biases = [one.weights.bias for one in model.operators if one.weights]
    assert changed == (0 if len(set(biases)) == 1 else 2)
