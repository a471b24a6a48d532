"""Draws `report.html` from a report: one page that needs nothing else, no network and no script."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from edgeconv.errors import counted
from edgeconv.formats import FORMATS
from edgeconv.report.figures import (
    format_count,
    format_error,
    format_execution,
    format_floor,
    format_integers,
    format_latency,
    format_seconds,
    format_size,
)
from edgeconv.report.model import OutputReport, Report, StepReport, TensorReport
from edgeconv.report.reading import all_notes, all_warnings, candidate_rows, format_rows

__all__ = ["open_templates", "page_template", "render_page"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """What the page says first; `tone` is `good`, `mixed` or `bad`."""

    tone: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step in the timeline; places are percentages of the run."""

    title: str
    subtitle: str
    kind: str
    left: float
    width: float
    label: str
    label_place: Literal["after", "before", "inside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the axis of the timeline."""

    left: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMarks:
    """Where an error lies between the noise floor and the tolerance, in percent of the scale."""

    error: float
    floor: float | None
    tolerance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorScale:
    """One logarithmic scale for the errors of all formats, in whole decades.

    Attributes:
        low: Its left end, a power of ten.
        high: Its right end.
    """

    low: int
    high: int

    @property
    def ends(self) -> str:
        """Both ends, for people."""
        return f"1e{self.low:+03d} to 1e{self.high:+03d}"

    def mark(self, output: OutputReport) -> ErrorMarks:
        """Places of what is known of an output."""
        return ErrorMarks(
            error=100.0 if output.max_abs_error is None else self._place(output.max_abs_error),
            floor=self._place(output.noise_floor) if output.noise_floor else None,
            tolerance=self._place(output.tolerance) if output.tolerance else None,
        )

    def _place(self, value: float) -> float:
        if value == 0:
            return 0.0
        return round(100 * (math.log10(value) - self.low) / (self.high - self.low), 2)


def open_templates(folder: Path) -> Environment:
    """The templates of a folder, for HTML: texts are escaped, and a name that is not there is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def page_template() -> Template:
    """The page's template; compiling it takes longer than drawing a page."""
    environment = open_templates(_TEMPLATES)
    environment.filters |= {
        "count": format_count,
        "error": format_error,
        "execution": format_execution,
        "integers": format_integers,
        "floor": format_floor,
        "seconds": format_seconds,
        "shell": shlex.join,
        "size": format_size,
        "candidates": candidate_rows,
        "format_title": _format_title,
        "latency": format_latency,
        "tensor_shape": _tensor_shape,
    }
    return environment.get_template("report.html.j2")


def render_page(report: Report) -> str:
    """The page of a report, as HTML text."""
    rows = format_rows(report)
    return page_template().render(
        report=report,
        headline=_headline(report),
        rows=rows,
        bars=list(_bars(report.steps, _span(report))),
        ticks=list(_ticks(_span(report))),
        scale=_error_scale(row.worst for row in rows),
        warnings=all_warnings(report),
        notes=all_notes(report),
    )


def _headline(report: Report) -> Headline:
    delivered = sum(goal.is_delivered for goal in report.goals)
    asked = len(report.goals)
    if delivered == asked:
        text = f"{asked} of {counted(asked, 'format')} delivered and verified"
        return Headline(tone="good", text=text)
    text = f"{delivered} of {counted(asked, 'format')} delivered, status {report.exit_status}"
    return Headline(tone="mixed" if delivered else "bad", text=text)


def _error_scale(outputs: Iterable[OutputReport | None]) -> ErrorScale:
    """A scale on which all errors, floors and tolerances have their place."""
    marks = [
        mark
        for item in outputs
        if item is not None
        for mark in (item.noise_floor, item.max_abs_error, item.tolerance)
        if mark
    ] or [1.0]
    low = math.floor(math.log10(min(marks)))
    return ErrorScale(low=low, high=max(math.ceil(math.log10(max(marks))), low + 1))


def _span(report: Report) -> float:
    ends = (step.started_seconds + step.seconds for step in report.steps)
    return max([report.seconds, *ends, 1e-3])


def _bars(steps: Iterable[StepReport], span: float) -> Iterable[Bar]:
    for step in steps:
        left = 100 * step.started_seconds / span
        width = 100 * step.seconds / span
        title = {k: f"{k} {step.target}" for k in ("verify", "measure", "diagnose")}
        label = "cached" if step.is_cache_hit else format_seconds(step.seconds)
        yield Bar(
            title=title.get(step.kind, step.converter),
            subtitle="" if step.kind in title else f"{step.source} → {step.target}",
            kind=_bar_kind(step),
            left=round(left, 2),
            width=round(width, 2),
            label=f"{label} · failed" if step.error else label,
            label_place=_label_place(left, left + width),
        )


def _label_place(left: float, right: float) -> Literal["after", "before", "inside"]:
    """Where a label has room; a bar with none on either side is long enough to hold it."""
    if right <= 80:
        return "after"
    return "before" if left >= 20 else "inside"


def _bar_kind(step: StepReport) -> str:
    if step.error:
        return "failed"
    return "cached" if step.is_cache_hit else step.kind


def _ticks(span: float) -> Iterable[Tick]:
    """Marks at round times, at most six."""
    step = 10.0 ** math.floor(math.log10(span))
    for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
        if span / (step * factor) <= _MOST_TICKS:
            step *= factor
            break
    for index in range(int(span / step) + 1):
        at = index * step
        yield Tick(left=round(100 * at / span, 2), label=f"{at:g} s")


def _format_title(format_id: str) -> str:
    return next((known.title for known in FORMATS if known.id == format_id), format_id)


def _tensor_shape(tensor: TensorReport) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, tensor.shape)) or "scalar"
