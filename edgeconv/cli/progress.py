"""Tells of steps while they run: one line each, living on a terminal, plain elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeconv.cli.screen import Screen, open_console, print_message
from edgeconv.errors import counted
from edgeconv.execute.records import Listener, Step, StepRecord
from edgeconv.report.figures import format_seconds
from edgeconv.validation.verdict import Verdict

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["watch"]


@contextmanager
def watch(screen: Screen) -> Iterator[Listener]:
    """A listener for one run, as the user wants to hear of it."""
    if screen.is_quiet:
        yield _Silent()
    elif sys.stderr.isatty() and not screen.is_verbose:  # log lines and a living display do not mix
        with _open_display() as display:
            yield _Live(display)
    else:
        yield _Plain()


class _Silent:
    def step_started(self, step: Step) -> None:
        """Nothing."""

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Nothing."""


class _Plain:
    """One line for each step that ended."""

    def step_started(self, step: Step) -> None:
        """Nothing: a line that cannot be replaced is written once."""

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Write the line; threads cannot mix, since it is one write."""
        mark = "failed" if _is_failure(record, verdict) else "ok"
        line = f"{mark:6}  {_title(record.step)}  {_elapsed(record)}  {_result(record, verdict)}"
        print_message(line.rstrip())


class _Live:
    """One line for each step, with a spinner and a clock while it runs."""

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}
        self._guard = threading.Lock()

    def step_started(self, step: Step) -> None:
        """Add the step's line."""
        with self._guard:
            self._tasks[step.id] = self._display.add_task(_title(step), total=1, result="")

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Stop its clock and write its result."""
        mark = "✗" if _is_failure(record, verdict) else "✓"
        result = f"{mark} {_result(record, verdict)}".rstrip()
        if record.is_cache_hit:
            result += " (cached)"
        with self._guard:
            self._display.update(self._tasks[record.step.id], completed=1, result=result)


def _open_display() -> Progress:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[result]}", markup=False),
        console=open_console(sys.stderr),
    )


def _title(step: Step) -> str:
    if step.kind == "verify":
        return f"verify {step.source}"
    if step.kind == "capture":
        return f"capture ({step.converter})"
    if step.kind == "measure":
        return f"measure {step.source}"
    if step.kind == "diagnose":
        return f"diagnose {step.target}: find the smallest part that fails"
    return f"{step.source} → {step.target} ({step.converter})"


def _elapsed(record: StepRecord) -> str:
    return "cached" if record.is_cache_hit else format_seconds(record.seconds)


def _is_failure(record: StepRecord, verdict: Verdict | None) -> bool:
    return record.error is not None or (verdict is not None and not verdict.passed)


def _result(record: StepRecord, verdict: Verdict | None) -> str:
    if record.error is not None:
        error = record.error
        return f"{error.message}: {error.why}" if error.why else error.message
    if record.step.kind == "diagnose":
        found = record.details.get("operators")
        return (
            f"{found} of {counted(int(str(record.details['of'])), 'operator')}"
            if found
            else "none was found"
        )
    if record.step.kind == "measure":
        what = "round" if "rounds" in record.details else "sample"
        return counted(int(str(record.details[f"{what}s"])), what)
    return verdict.summary() if verdict else ""
