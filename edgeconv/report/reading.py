"""What a reader asks of a report, for the page and the command line alike."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeconv.report.model import (
    ArtifactReport,
    AttemptReport,
    CandidateReport,
    GoalReport,
    OutputReport,
    Report,
    StepReport,
    VerdictReport,
)

__all__ = [
    "CandidateRow",
    "FormatRow",
    "all_notes",
    "all_warnings",
    "candidate_rows",
    "format_rows",
    "worst_output",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRow:
    """One format that was asked for.

    Attributes:
        goal: What became of it.
        artifact: What was delivered.
        verdict: What verification said last.
        worst: The output that is nearest to its tolerance, or furthest beyond it.
        seconds: Time of the steps that made and verified the artifact.
        is_cached: Whether all of them came from the cache.
    """

    goal: GoalReport
    artifact: ArtifactReport | None
    verdict: VerdictReport | None
    worst: OutputReport | None
    seconds: float
    is_cached: bool

    @property
    def state(self) -> str:
        """`verified`, `rejected` or `failed`."""
        if self.artifact:
            return "verified"
        return "rejected" if self.goal.rejected_path else "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """One route where all were followed to find the best.

    Attributes:
        attempt: How it ended.
        candidate: What it made, if that was verified.
        worst: The output that is nearest to its tolerance, or furthest beyond it.
    """

    attempt: AttemptReport
    candidate: CandidateReport | None
    worst: OutputReport | None


def candidate_rows(goal: GoalReport) -> list[CandidateRow]:
    """All routes to a format: the chosen one, what it was compared with, and those that failed; empty without a choice."""
    if not goal.candidates:
        return []
    made = {tuple(item.route): item for item in goal.candidates}
    rows = [
        CandidateRow(
            attempt=attempt,
            candidate=made.get(tuple(attempt.route)),
            worst=worst_output(attempt.verdict),
        )
        for attempt in goal.attempts
    ]
    order = {"delivered": 0, "verified": 1, "rejected": 2, "failed": 3}
    return sorted(rows, key=lambda row: order[row.attempt.result])


def format_rows(report: Report) -> list[FormatRow]:
    """One row for each format, in the order asked."""
    return [_row(goal, report) for goal in report.goals]


def worst_output(verdict: VerdictReport | None) -> OutputReport | None:
    """The output with the largest error relative to its tolerance; None without outputs."""
    outputs = verdict.outputs if verdict else []
    return max(outputs, key=_over_tolerance, default=None)


def all_warnings(report: Report) -> list[str]:
    """Warnings of the run and of its steps, each once."""
    texts = [*report.warnings]
    texts += [f"{step.converter}: {text}" for step in report.steps for text in step.warnings]
    return list(dict.fromkeys(texts))


def all_notes(report: Report) -> list[str]:
    """What steps say beside, of no concern by itself, each once."""
    noted = (step.details.get("notes") for step in report.steps)
    return list(
        dict.fromkeys(str(text) for item in noted if isinstance(item, list) for text in item)
    )


def _row(goal: GoalReport, report: Report) -> FormatRow:
    artifact = next((item for item in report.artifacts if item.format == goal.format), None)
    judged = next((item.verdict for item in reversed(goal.attempts) if item.verdict), None)
    verdict = artifact.verdict if artifact else judged
    steps = _route_steps(artifact.route, report.steps) if artifact else []
    return FormatRow(
        goal=goal,
        artifact=artifact,
        verdict=verdict,
        worst=worst_output(verdict),
        seconds=sum(step.seconds for step in steps),
        is_cached=bool(steps) and all(step.is_cache_hit for step in steps),
    )


def _route_steps(route: list[str], steps: Iterable[StepReport]) -> list[StepReport]:
    """The steps of a route and its verification; the capture is everybody's and counts for nobody."""
    ids = {"/".join(route[: end + 1]) for end in range(len(route))} | {"/".join([*route, "verify"])}
    return [step for step in steps if step.id in ids]


def _over_tolerance(output: OutputReport) -> float:
    if output.max_abs_error is None:
        return math.inf
    return output.max_abs_error / (output.tolerance or 1.0)
