"""Verifies an artifact and measures its accuracy on labelled data beside that of its model."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edgeconv.errors import InvalidInputError
from edgeconv.formats import load_handler
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.quantization.answers import ANSWERS_NAME, open_data
from edgeconv.quantization.evaluation import Evaluation, Run
from edgeconv.quantization.metrics import choose_metric
from edgeconv.quantization.metrics.spec import Metric
from edgeconv.signature import Signature
from edgeconv.validation.integers import IntegerEnds
from edgeconv.validation.layouts import LayoutBridge
from edgeconv.validation.verdict import Verdict
from edgeconv.validation.worker import verify

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["verify_with_metric"]


def verify_with_metric(
    request: dict[str, Json], context: MutableMapping[str, object]
) -> dict[str, Json]:
    """Verify an artifact, and measure it on all of `inputs["data"]`.

    Args:
        request: The JSON of a `Job`: what `edgeconv.validation.worker.verify` takes, `inputs["answers"]` as
            `edgeconv.quantization.answers.answer` left it, and the options `metric`, `max_drop`, `python_path`, `preprocess` and
            `data_signature`.
        context: Of the worker.

    Returns:
        The JSON of a `JobResult`: the verdict in its details has both figures, and a problem if too much was lost. An artifact
        that does not run at all is not measured.

    Raises:
        InvalidInputError: The data lacks what the metric needs, or the artifact does not run on it.
        UsageError: There is no such metric.
    """
    job = Job.from_json(request)
    result = JobResult.from_json({"output": "", **verify(request, context)})
    verdict = Verdict.from_json(cast("dict[str, Json]", result.details["verdict"]))
    if verdict.samples:
        verdict = _with_metric(job, verdict)
    details = {**result.details, "verdict": cast("Json", verdict.to_json())}
    return replace(result, details=details).to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """A metric of the artifact and of its model."""

    metric: Metric
    artifact: float
    model: float
    samples: int
    notes: tuple[str, ...]

    def complaint(self, max_drop: float | None) -> str:
        """Why the artifact is not good enough; empty if it is."""
        if not math.isfinite(self.artifact):
            return f"{self.metric.name} is {self.artifact}"
        drop = self.metric.drop(self.model, self.artifact)
        if max_drop is None or drop <= max_drop:
            return ""
        return (
            f"{self.metric.name} is {self.artifact:.4f}, and the model's {self.model:.4f}:"
            f" worse by {drop:.4f}, and at most {max_drop:g} is allowed"
        )


def _with_metric(job: Job, verdict: Verdict) -> Verdict:
    figures = _measure(job)
    name = figures.metric.name
    complaint = figures.complaint(cast("float | None", job.options.get("max_drop")))
    return replace(
        verdict,
        metrics={name: figures.artifact} if math.isfinite(figures.artifact) else {},
        reference_metrics={name: figures.model},
        metric_samples=figures.samples,
        notes=(*verdict.notes, *figures.notes),
        problems=(*verdict.problems, *([complaint] if complaint else [])),
        passed=verdict.passed and not complaint,
    )


def _measure(job: Job) -> _Figures:
    options = job.options
    signature = Signature.from_json(cast("Mapping[str, object]", options["data_signature"]))
    with np.load(job.inputs["answers"] / ANSWERS_NAME) as stored:
        answers: dict[str, Array] = {name: stored[name] for name in stored.files}
    with _opened(job, signature) as run, tempfile.TemporaryDirectory() as scratch:
        dataset = open_data(job, signature, Path(scratch))
        path = cast("list[str]", options["python_path"])
        metric = choose_metric(str(options["metric"]), dataset.extra_names, path)
        everything = tuple(range(dataset.count))
        ran = Evaluation.of(dataset, everything, run, keeps_inputs=metric.needs_inputs)
    judged = replace(ran, reference=answers)
    figure = judged.measure(metric, answers)
    if not math.isfinite(figure):
        raise InvalidInputError(
            f"metric '{metric.name}' of the model is {figure}",
            hint="check the labels, the metric and the model's outputs",
        )
    return _Figures(
        metric=metric,
        artifact=judged.measure(metric, ran.reference),
        model=figure,
        samples=len(everything),
        notes=dataset.notes,
    )


@contextmanager
def _opened(job: Job, signature: Signature) -> Iterator[Run]:
    """The artifact, which takes and gives what the model does."""
    handler, path = load_handler(str(job.options["format"])), job.inputs["artifact"]
    bridge = LayoutBridge.between(signature, handler.read_signature(path))
    ends = IntegerEnds.between(signature, handler, path)
    with ends.open(handler.open(path)) as session:
        yield lambda inputs: bridge.run(session, inputs)
