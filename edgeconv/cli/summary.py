"""The table that ends a conversion, drawn from its report."""

from __future__ import annotations

from collections.abc import Iterator

from edgeconv.cli.screen import as_table
from edgeconv.report.figures import (
    format_error,
    format_execution,
    format_floor,
    format_integers,
    format_latency,
    format_size,
)
from edgeconv.report.model import ArtifactReport, ErrorReport, GoalReport, OutputReport, Report
from edgeconv.report.reading import CandidateRow, FormatRow, candidate_rows, format_rows

__all__ = ["list_problems", "summarize"]

# The same figures as a step's own line; tolerance and floor are absolute as well.
_ERROR = "max abs error / floor"
_CANDIDATES = ("route", "size", "latency", _ERROR, "result")
_HEADER = ("format", "size", "verdict", _ERROR, "route", "seconds")


def summarize(report: Report) -> str:
    """One line for each format that was asked for, what its runtime says, and a table where the best was looked for."""
    rows = format_rows(report)
    table = as_table(_HEADER, [_cells(row) for row in rows], right=(1, 5))
    told = [
        f"{row.goal.format}: {line}"
        for row in rows
        if row.artifact
        for line in _facts(row.artifact)
    ]
    more = [_compare(goal, report.best or "") for goal in report.goals if goal.candidates]
    return "\n\n".join(["\n".join([table, *told]), *more])


def _facts(artifact: ArtifactReport) -> Iterator[str]:
    if artifact.execution:
        yield format_execution(artifact.execution)
    if integers := format_integers(artifact.details):
        yield integers


def _compare(goal: GoalReport, best: str) -> str:
    rows = [_candidate_cells(row) for row in candidate_rows(goal)]
    return f"{goal.format}, best by {best}:\n{as_table(_CANDIDATES, rows, right=(1, 2))}"


def _candidate_cells(row: CandidateRow) -> tuple[str, ...]:
    made = row.candidate
    latency = None if made is None else made.latency_seconds
    return (
        " → ".join(row.attempt.route),
        "-" if made is None else format_size(made.bytes),
        "-" if latency is None else format_latency(latency),
        _error(row.worst),
        row.attempt.reason
        or ", ".join(filter(None, [row.attempt.result, made.reason if made else ""])),
    )


def list_problems(report: Report) -> str:
    """What went wrong with single formats, as text; empty if nothing did."""
    errors = [goal.error for goal in report.goals if goal.error]
    return "\n\n".join(dict.fromkeys(_describe(error) for error in errors))


def _describe(error: ErrorReport) -> str:
    lines = [f"error: {error.message}", f"why: {error.why}" if error.why else ""]
    lines += [f"  - {line}" for line in error.details]
    lines.append(f"hint: {error.hint}" if error.hint else "")
    return "\n".join(filter(None, lines))


def _cells(row: FormatRow) -> tuple[str, ...]:
    artifact = row.artifact
    if artifact is None:
        reason = row.goal.error.message if row.goal.error else ""
        if row.goal.earlier_path:
            reason += f" ('{row.goal.earlier_path}' is of an earlier run)"
        return (row.goal.format, "-", row.state, _error(row.worst), reason, "-")
    return (
        row.goal.format,
        format_size(artifact.bytes),
        row.state,
        _error(row.worst),
        " → ".join(artifact.route),
        "cached" if row.is_cached else f"{row.seconds:.2f}",
    )


def _error(output: OutputReport | None) -> str:
    if output is None or not (output.passed or output.max_abs_error != 0):
        return "-"  # nothing was measured: the output is missing, or of another shape
    floor = format_floor(output.error_over_floor)
    return " / ".join(filter(None, [format_error(output.max_abs_error), floor]))
