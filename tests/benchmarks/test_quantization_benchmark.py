"""The benchmark of quantization rescales without changing a function, judges right, and reports what it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from benchmarks.quantization.cases import Case, case_names, find_case
from benchmarks.quantization.channels import RESCALED, rescaled_model
from benchmarks.quantization.report import aims_of, write_report
from benchmarks.quantization.rows import FLOAT, Row, key_of, read_rows, write_rows
from benchmarks.quantization.scoring import Scale, cosine, dequantize, judge, quantize, snr_db
from sample_models.cards import read_card
from sample_models.evaluation import predict, top1
from sample_models.samples import Samples

pytestmark = pytest.mark.integration


def case(name: str = "digits_vit") -> Case:
    return find_case(name, Path("build"))


@pytest.mark.parametrize("name", sorted(RESCALED))
def test_rescaled_channels_compute_what_the_trained_ones_do(name: str) -> None:
    samples = case(name).test()
    figure = top1(predict(rescaled_model(name), samples), samples.extras)
    wanted = read_card(RESCALED[name]).metric.value
    assert wanted is not None
    assert figure == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("name", sorted(RESCALED))
def test_rescaled_channels_differ_in_scale(name: str) -> None:
    norms = [
        module.weight.detach().abs()
        for module in rescaled_model(name).modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    spread = max(float(torch.quantile(norm, 0.9) / torch.quantile(norm, 0.1)) for norm in norms)
    assert spread > 30


def test_a_case_has_calibration_data_that_fit_its_test_data() -> None:
    for name in case_names():
        calibration, test = case(name).calibration(), case(name).test()
        assert not calibration.extras
        for key, array in test.inputs.items():
            assert calibration.inputs[key].shape[1:] == array.shape[1:]


def test_integers_of_a_file_are_numbers_again() -> None:
    scale = Scale(dtype=np.int8, quantization=(0.5, 3))
    numbers = np.array([-1.0, 0.0, 2.25, 1e9], np.float32)
    integers = quantize(numbers, scale)
    assert integers.tolist() == [1, 3, 7, 127]
    assert dequantize(integers, scale).tolist() == [-1.0, 0.0, 2.0, 62.0]
    floats = Scale(dtype=np.float32, quantization=(0.0, 0))
    assert quantize(numbers, floats) is numbers
    tokens = np.array([7], np.int64)
    assert quantize(tokens, scale) is tokens


def test_the_cosine_is_the_mean_over_samples() -> None:
    wanted = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    assert cosine(wanted * 3, wanted) == pytest.approx(1)
    assert cosine(wanted[::-1], wanted) == pytest.approx(0)
    assert cosine(np.array([[1.0, 0.0], [1.0, 0.0]]), wanted) == pytest.approx(0.5)


def test_noise_of_a_tenth_is_twenty_decibels() -> None:
    wanted = {"output": np.ones((4, 5), np.float32)}
    assert snr_db({"output": wanted["output"] * 1.1}, wanted) == pytest.approx(20, abs=1e-3)
    assert snr_db(wanted, wanted) == 200


def test_the_metric_of_the_case_decides_the_figure() -> None:
    outputs = {"output": np.array([[0.1, 0.9], [0.8, 0.2]])}
    samples = Samples(inputs={}, extras={"label": np.array([1, 1])})
    assert judge("top1", outputs, reference=outputs, samples=samples) == 0.5
    assert judge("cosine", outputs, reference=outputs, samples=samples) == pytest.approx(1)


def _rows(drop: float) -> dict[str, Row]:
    ours = Row(figure=0.9, drop=drop, snr_db=30.0, size_bytes=4000, seconds=1.0)
    theirs = Row(figure=0.9, drop=0.004, snr_db=20.0, size_bytes=5000, seconds=1.0)
    return {
        key_of("digits_vit", FLOAT, "edgeconv tflite"): Row(figure=0.99, drop=0.0),
        key_of("digits_vit", "int8", "edgeconv tflite"): ours,
        key_of("digits_vit", "int8", "ai-edge-quantizer"): theirs,
        key_of("digits_vit", "int8", "onnxruntime"): Row(error="status 1: no kernel"),
    }


@pytest.mark.parametrize(
    ("drop", "reached"), [(0.001, [True, True]), (0.0045, [True, False]), (0.02, [False, False])]
)
def test_what_is_aimed_at_is_a_small_drop_and_none_larger_than_a_rivals(
    drop: float, reached: list[bool]
) -> None:
    assert [aim.is_reached for aim in aims_of([case()], _rows(drop))] == reached


def test_an_attempt_of_ours_that_failed_misses_the_aim() -> None:
    rows = {key_of("digits_vit", "int8", "edgeconv tflite"): Row(error="no such recipe")}
    (aim,) = aims_of([case()], rows)
    assert not aim.is_reached
    assert "no such recipe" in aim.text


def test_the_report_shows_figures_and_failures() -> None:
    text = write_report([case()], _rows(0.001))
    (line,) = [line for line in text.splitlines() if "0.9900 |" in line and "(30, 4)" in line]
    assert "| digits_vit | top1 | 0.9900 | 0.9000 (30, 4) | 0.9000 (20, 5) |  |  | failed |" in line
    assert "status 1: no kernel" in text


def test_rows_survive_a_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.json", _rows(0.001))
    assert read_rows(tmp_path / "rows.json") == _rows(0.001)
    assert read_rows(tmp_path / "none.json") == {}
