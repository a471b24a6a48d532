"""Real routes followed to the end: each is verified and measured, and the best is delivered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import edgeconv as ec
from edgeconv import api
from edgeconv.artifact import measure_size
from edgeconv.cli.summary import summarize
from edgeconv.conversion import run_request
from edgeconv.errors import UsageError
from edgeconv.plugin import Job, JobResult
from edgeconv.plugin.registry import Registry
from edgeconv.report.document import PAGE_NAME, REPORT_NAME, read_report
from edgeconv.validation.measure import measure
from tests.converters.model import capture, capture_classifier, draw

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("best"),
]


@pytest.fixture(scope="module")
def model() -> ec.Model:
    return capture_classifier()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))


def test_the_smallest_of_all_routes_is_kept(model: ec.Model, tmp_path: Path) -> None:
    out = tmp_path / "out"
    formats = ["onnx", "torchscript", "tflite"]
    done = ec.convert(model, to=formats, out=out, best="size", avoid=["tflite-converter"])
    for goal in done.outcome.goals:
        by_route = {}
        for candidate in goal.candidates:
            alone = tmp_path / candidate.route[-1]
            made = ec.convert(model, to=goal.format, out=alone, via=list(candidate.route))
            by_route[candidate.route] = measure_size(made[goal.format].path)
        assert len(by_route) == {"onnx": 3}.get(goal.format, 2)
        assert {c.route: c.size_bytes for c in goal.candidates} == by_route
        (chosen,) = (c.route for c in goal.candidates if c.is_chosen)
        assert by_route[chosen] == min(by_route.values())
        assert measure_size(done[goal.format].path) == min(by_route.values())
        results = {a.route: a.result for a in goal.attempts}
        assert results == {r: "delivered" if r == chosen else "verified" for r in by_route}
    kinds = [record.step.kind for record in done.outcome.steps]
    assert kinds[-3:] == ["measure"] * 3  # nothing else ran meanwhile


def test_a_route_that_computes_something_else_is_no_candidate(
    model: ec.Model, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (real,) = (spec for spec in Registry().converters if spec.id == "torch-onnx")
    harmed = replace(real, entry="edgeconv.testing.hostile:damage_onnx")
    specs = [harmed if spec is real else spec for spec in Registry().converters]
    request = replace(
        api._request(model, None, out),
        out=out,
        goals=("onnx",),
        best="accuracy",
        avoid=("edge-onnx",),
        converter_options={"torch-onnx": {"entry": real.entry}},
    )
    done = run_request(request, api.Silent(), registry=Registry(specs), lanes=api._lanes(model))
    assert done.exit_status == 0
    report = read_report(out / REPORT_NAME)
    (goal,) = report.goals
    assert report.best == "accuracy"
    assert [a.result for a in goal.attempts] == ["delivered", "rejected"] or [
        a.result for a in goal.attempts
    ] == ["rejected", "delivered"]
    (candidate,) = goal.candidates
    assert candidate.route == ["torch-onnx-torchscript"]
    assert candidate.is_chosen
    assert candidate.latency_seconds is not None
    assert candidate.latency_seconds > 0
    table = summarize(report).partition("best by accuracy:")[2]
    assert "torch-export → torch-onnx" in table
    assert "'output' is off by" in table
    assert "Best by accuracy" in (out / PAGE_NAME).read_text()


class _Work(nn.Module):
    """As much work as it is told, of which nothing is left."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for _ in range(self.rounds):
            y = torch.softmax(y @ y, -1)
        return x + y


def test_latencies_are_those_of_the_runs(tmp_path: Path) -> None:
    paths, folder = [], tmp_path / "1"
    for rounds in (40, 1):
        folder = tmp_path / str(rounds)
        captured = ec.capture(_Work(rounds), (draw(128, 128),), name="work")
        made = ec.convert(captured, to="onnx", out=folder)
        paths.append(made["onnx"].path)
    reference = capture(_Work(1), (draw(128, 128),), tmp_path / "capture").folder / "reference"
    job = Job(
        name="work",
        inputs={"candidate_0": paths[0], "candidate_1": paths[1], "reference": reference},
        output=tmp_path / "none",
        options={"format": "onnx"},
    )
    details = JobResult.from_json(measure(job.to_json(), {})).details
    slow, fast = cast("list[float]", details["latencies_seconds"])
    assert slow > 4 * fast > 0
    assert cast("int", details["rounds"]) >= 5


def test_what_nothing_is_compared_by_is_refused(model: ec.Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'speed'") as caught:
        ec.convert(model, to="onnx", out=tmp_path / "out", best="speed")  # type: ignore[arg-type]
    assert "latency, size, accuracy" in caught.value.hint
