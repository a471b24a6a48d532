"""Converts one model of the zoo in processes of its own, under limits, and measures what was delivered."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Limits, Measurement, observe
from benchmarks.scoreboard.board import FORMATS, FormatRow, ModelRow
from edgeconv.report.model import ArtifactReport, GoalReport, Report, StepReport

__all__ = ["convert_model"]

_LATENCY_LIMITS = Limits(seconds=300)
_MOST_ERROR_CHARACTERS = 600
# The inputs are kept: what an artifact is timed on must be what the model takes.
_FACTORY = """
import sys

sys.path.insert(0, {zoo!r})
import models
import numpy


def create():
    module, inputs = models.build({name!r})
    numpy.savez({inputs!r}, *[tensor.numpy() for tensor in inputs])
    return module, inputs
"""


def convert_model(zoo: Path, name: str, limits: Limits) -> ModelRow:
    """Convert one model to every format and time each artifact; nothing is left on the disk.

    Args:
        zoo: The folder with `models.py`.
        name: Of the model.
        limits: For the conversion with all its processes.
    """
    with tempfile.TemporaryDirectory(prefix="scoreboard-") as scratch:
        folder = Path(scratch)
        inputs = folder / "inputs.npz"
        factory = folder / "factory.py"
        factory.write_text(_FACTORY.format(zoo=str(zoo), name=name, inputs=str(inputs)))
        found = observe(
            [
                sys.executable, "-m", "edgeconv", "convert", f"{factory}:create", "--name", "model",
                "--to", ",".join(FORMATS), "--output", str(folder / "out"), "--no-cache", "--quiet",
            ],
            environment={"EDGECONV_CACHE_DIR": str(folder / "cache")},
            limits=limits,
        )  # fmt: skip
        path = folder / "out" / "report.json"
        report = Report.model_validate_json(path.read_text()) if path.exists() else None
        latencies = _measure_latencies(report, folder / "out", inputs) if report else {}
        return _describe(found, report, latencies)


def _measure_latencies(report: Report, folder: Path, inputs: Path) -> dict[str, float]:
    """Milliseconds by format; each artifact is run in a process of its own."""
    module = "benchmarks.scoreboard.latency"
    found = {}
    for artifact in report.artifacts:
        path = str(folder / artifact.path)
        command = [sys.executable, "-m", module, artifact.format, path, str(inputs)]
        run = observe(command, limits=_LATENCY_LIMITS)
        if run.status or run.exceeded:
            print(f"{artifact.format} could not be timed: {run.errors[-300:]}", file=sys.stderr)
        else:
            found[artifact.format] = float(run.output)
    return found


def _describe(
    found: Measurement, report: Report | None, latencies: Mapping[str, float]
) -> ModelRow:
    captures = [step.seconds for step in report.steps if step.kind == "capture"] if report else []
    rows = {name: _format_row(name, report, latencies) for name in FORMATS}
    is_whole = all(row.is_verified for row in rows.values())
    return ModelRow(
        date=datetime.now(UTC).date().isoformat(),
        exceeded=found.exceeded,
        error="" if is_whole else found.errors.strip()[-_MOST_ERROR_CHARACTERS:],
        seconds=round(found.wall_seconds, 1),
        capture_seconds=round(sum(captures), 2) if captures else None,
        peak_memory_bytes=found.peak_memory_bytes,
        parameters=report.source.parameters if report else None,
        formats=rows,
    )


def _format_row(format_id: str, report: Report | None, latencies: Mapping[str, float]) -> FormatRow:
    goals = [goal for goal in report.goals if goal.format == format_id] if report else []
    if report is None or not goals:
        return FormatRow(is_verified=False, error="there is no report")
    goal = goals[0]
    artifact = next((a for a in report.artifacts if a.format == format_id), None)
    return FormatRow(
        is_verified=artifact is not None,
        error=f"{goal.error.message}: {goal.error.why}" if goal.error else "",
        route=tuple(artifact.route) if artifact else (),
        lost=tuple(_lost(goal)),
        seconds=round(sum(step.seconds for step in _steps_of(goal, report)), 2),
        size_bytes=artifact.bytes if artifact else None,
        latency_ms=latencies.get(format_id),
        relative_error=_largest_error(artifact) if artifact else None,
    )


def _lost(goal: GoalReport) -> Iterator[str]:
    for attempt in goal.attempts:
        if attempt.result != "delivered":
            yield f"{' → '.join(attempt.route)}: {attempt.reason}"[:_MOST_ERROR_CHARACTERS]


def _steps_of(goal: GoalReport, report: Report) -> Iterator[StepReport]:
    """The steps on the routes that were tried for a format, the capture left out."""
    wanted = set()
    for attempt in goal.attempts:
        routes = ["/".join(attempt.route[: end + 1]) for end in range(len(attempt.route))]
        wanted |= {*routes, f"{routes[-1]}/verify"}
    return (step for step in report.steps if step.id in wanted)


def _largest_error(artifact: ArtifactReport) -> float | None:
    outputs = artifact.verdict.outputs if artifact.verdict else []
    return max((o.relative_error for o in outputs if o.relative_error is not None), default=None)
