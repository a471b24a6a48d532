"""When a delivered file is warned of, and what is said to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.plugin.quantizer import QuantizationPlan, QuantizedFile
from edgeconv.quantization.alarm import find_alarm
from edgeconv.quantization.candidates import Budget, Candidate
from edgeconv.quantization.metrics import find_metric
from edgeconv.quantization.metrics.spec import Metric
from edgeconv.quantization.recipes import RECIPES
from edgeconv.quantization.request import QuantizationRequest
from edgeconv.signature import DType
from tests.quantization.fake import FakeModel, reference

OWN = Metric(name="own:of", measure=lambda _: 0.0)


def request(*, io: DType = DType.FLOAT32) -> QuantizationRequest:
    here = Path()
    return QuantizationRequest(
        artifact=here, format="", entry="", output=here, scratch=here, recipe="int8", io=io
    )


def candidate(score: float | None, drop: float | None, snr_db: float = 20.0) -> Candidate:
    return Candidate(
        name="int8",
        path=Path("q"),
        plan=QuantizationPlan(default=RECIPES["int8"].precision),
        file=QuantizedFile(precisions={}),
        size_bytes=1,
        snr_db=snr_db,
        score=score,
        drop=drop,
    )


def alarm(metric: Metric, before: float, after: float, *, snr_db: float = 20.0) -> str:
    budget = Budget(
        metric=metric, max_drop=None, before=before, evaluation=reference(FakeModel(noise=[1]))
    )
    chosen = candidate(after, metric.drop(before, after), snr_db)
    return find_alarm(request(), "int8", budget, chosen)


@pytest.mark.parametrize(
    ("metric", "before", "after", "is_alarming"),
    [
        ("top1", 0.99, 0.80, False),
        ("top1", 0.99, 0.78, True),
        ("top1", 0.3, 0.15, False),  # half of it, but fifteen points
        ("agreement", 1.0, 0.7, True),
        ("auc", 0.98, 0.8, False),
        ("auc", 0.98, 0.5, True),
        ("own:of", 76.0, 70.0, False),
        ("own:of", 76.0, 10.0, True),
        ("mse", 0.0, 9.0, False),  # how much that is, the outputs say
    ],
)
def test_great_losses(metric: str, before: float, after: float, is_alarming: bool) -> None:
    told = alarm(OWN if ":" in metric else find_metric(metric), before, after)
    assert bool(told) is is_alarming
    if told:
        assert told.startswith(f"{metric} fell from {before:.4g} to {after:.4g}")


def test_outputs_that_are_mostly_noise_and_figures_that_are_none() -> None:
    assert "signal-to-noise ratio is 1.5 dB" in alarm(find_metric("mse"), 0.0, 9.0, snr_db=1.5)
    assert "no finite number" in alarm(find_metric("top1"), 0.9, float("nan"))


def test_no_alarm_where_something_else_judges() -> None:
    evaluation = reference(FakeModel(noise=[1]))
    metric = find_metric("top1")
    bounded = Budget(metric=metric, max_drop=0.5, before=1.0, evaluation=evaluation)
    assert find_alarm(request(), "int8", bounded, candidate(0.6, 0.4)) == ""
    assert find_alarm(request(), "int8", None, candidate(None, None, -3.0)) == ""


def test_the_advice_fits_what_was_asked_for() -> None:
    evaluation = reference(FakeModel(noise=[1]))
    budget = Budget(metric=find_metric("top1"), max_drop=None, before=1.0, evaluation=evaluation)
    told = find_alarm(request(), "int16x8", budget, candidate(0.1, 0.9))
    assert "--recipe int8-dynamic or fp16, or --calibration with real inputs" in told
    assert "defaults of --observer" in told
    assert "--io" not in told
    told = find_alarm(request(io=DType.INT8), "int8", budget, candidate(0.1, 0.9))
    assert "--io float32" in told
