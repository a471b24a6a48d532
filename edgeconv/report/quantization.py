"""The report of a quantization: its shape, published as JSON Schema, and the page that is drawn from it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, Literal

from jinja2 import Template
from pydantic import BaseModel, ConfigDict, Field

from edgeconv.artifact import digest_path
from edgeconv.errors import EdgeconvError
from edgeconv.report.figures import (
    format_latency,
    format_precisions,
    format_seconds,
    format_size,
)
from edgeconv.report.model import ErrorReport
from edgeconv.report.page import open_templates
from edgeconv.report.quantization_files import (
    PAGE_SUFFIX,
    RECIPE_ID,
    RECIPE_SUFFIX,
    REPORT_SUFFIX,
)
from edgeconv.report.strict_json import strict
from edgeconv.version import edgeconv_version

__all__ = [
    "QUANTIZATION_SCHEMA_ID",
    "QuantizationReport",
    "build_quantization_report",
    "quantization_text",
    "quantization_texts",
    "render_quantization_page",
]

QUANTIZATION_SCHEMA_ID: Final = "edgeconv.quantization/1"

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_CANDIDATES = 12
"""Of more the page shows the best ones, and unfolds the rest."""


class _Model(BaseModel):
    # A reader of an older edgeconv meets fields it does not know yet, and goes on.
    model_config = ConfigDict(extra="ignore", frozen=True)


class CalibrationReport(_Model):
    """What the ranges of activations were found with: enough to find them again."""

    samples: int = Field(description="Samples that were run.")
    of: int = Field(description="Samples that there are.")
    digest: str = Field(description="SHA-256 over the inputs of all samples that were run.")
    seed: int = Field(description="What they were selected by.")
    is_random: bool = Field(description="Whether they are noise.")
    preprocess: dict[str, object] | None = Field(description="How images became inputs.")


class EvaluationReport(_Model):
    """The accuracy before and after."""

    metric: str
    unit: str = Field(description="'%' where figures are shares.")
    is_higher_better: bool
    samples: int = Field(
        description="Samples it was measured on; none of them was calibrated with."
    )
    before: float = Field(description="Of the float model.")
    after: float | None = Field(description="Of the quantized model.")
    drop: float | None = Field(description="By how much it became worse.")
    max_drop: float | None = Field(description="The budget; null if there was none.")


class FloatReport(_Model):
    """The float model."""

    size_bytes: int
    latency_seconds: float | None


class KeptReport(_Model):
    """An operator that is not in the recipe's precision."""

    name: str
    code: str
    precision: str
    reason: str


class QuantizedOutputReport(_Model):
    """How an output differs from the float model's, on `compared_samples` of the data."""

    name: str
    snr_db: float
    cosine: float
    max_abs_error: float | None
    top1_agreement: float | None
    is_finite: bool


class LayerReport(_Model):
    """An operator of the float model and what became of it."""

    name: str
    code: str
    precision: str
    snr_db: float | None = Field(
        description="Of its output to the float model's; null if it is gone."
    )
    source: str = Field(description="The line of the user's program.")
    reason: str


class SensitivityReport(_Model):
    """What the outputs lose when one operator alone is quantized."""

    operator: str
    snr_db: float


class QuantizedCandidateReport(_Model):
    """A file that was tried."""

    name: str
    size_bytes: int
    snr_db: float | None
    score: float | None
    drop: float | None
    latency_seconds: float | None
    is_within: bool
    is_pareto: bool = Field(description="Whether none other is both smaller and more accurate.")
    is_chosen: bool


class QuantizationReport(_Model):
    """Everything about one quantization."""

    model_config = ConfigDict(title="edgeconv quantization report", validate_by_name=True)

    schema_id: Literal["edgeconv.quantization/1"] = Field(
        default=QUANTIZATION_SCHEMA_ID, alias="schema"
    )
    edgeconv: str = Field(description="Version of edgeconv.")
    created: str = Field(description="When the run ended, ISO 8601 in UTC.")
    command: list[str] = Field(description="The command line; empty when called from Python.")
    name: str
    source: str = Field(description="The float artifact as the user named it.")
    source_sha256: str
    artifact: str | None = Field(description="The file that was delivered, beside the report.")
    sha256: str | None
    quantizer: str
    recipe: str
    io: str
    observer: str | None = Field(description="What chose the ranges of activations.")
    preparation: dict[str, int] = Field(description="How many places each step changed.")
    calibration: CalibrationReport | None
    evaluation: EvaluationReport | None
    is_met: bool = Field(description="Whether the budget is met; true where there is none.")
    error: ErrorReport | None
    float_model: FloatReport = Field(alias="float")
    size_bytes: int
    latency_seconds: float | None
    snr_db: float | None
    integer_share: float = Field(
        description="Share of operators that compute in integers; none where only weights are stored as such."
    )
    precisions: dict[str, int] = Field(description="How many operators compute in what.")
    operators_kept: list[KeptReport]
    outputs: list[QuantizedOutputReport]
    compared_samples: int = Field(
        default=0, description="Samples that the outputs were compared on; 0 if it is not known."
    )
    layers: list[LayerReport]
    ranking: list[SensitivityReport] = Field(description="Most sensitive first.")
    candidates: list[QuantizedCandidateReport]
    chosen: str
    reproduce: dict[str, object] = Field(description="The recipe as data: --recipe FILE.")
    versions: dict[str, str]
    alarm: str | None = Field(
        default=None,
        description="What was lost that the model is for, and what to do; the first of the warnings too.",
    )
    warnings: list[str]
    seconds: float
    peak_memory_bytes: int
    is_cached: bool = Field(
        default=False,
        description="Whether an earlier run did the work: its figures are these, and its file is this one.",
    )


def build_quantization_report(
    facts: Mapping[str, object],
    *,
    name: str,
    source: Path,
    delivered: tuple[str, str] | None,
    quantizer: str,
    command: Iterable[str],
    seconds: float,
    peak_memory_bytes: int,
    is_cached: bool,
    error: EdgeconvError | None,
) -> QuantizationReport:
    """The report of a quantization, from what its worker tells; of what is delivered the file's name and its SHA-256."""
    artifact, sha256 = delivered or (None, None)
    data = {
        **facts,
        "edgeconv": edgeconv_version(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "name": name,
        "source": str(source),
        "source_sha256": digest_path(source),
        "artifact": artifact,
        "sha256": sha256,
        "quantizer": quantizer,
        "error": None if error is None else error.to_json(),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes,
        "is_cached": is_cached,
    }
    return QuantizationReport.model_validate(strict(data))


def quantization_text(report: QuantizationReport) -> str:
    """The report as JSON text."""
    return report.model_dump_json(by_alias=True, indent=2) + "\n"


def quantization_texts(report: QuantizationReport, artifact: Path) -> dict[Path, str]:
    """The files that tell of an artifact: report, page, and for what was delivered the recipe that makes it again.

    Args:
        report: All about it.
        artifact: Where it is; they lie beside it.
    """
    texts = {
        REPORT_SUFFIX: quantization_text(report),
        PAGE_SUFFIX: render_quantization_page(report),
    }
    if report.artifact is not None:
        recipe = {"schema": RECIPE_ID, **report.reproduce}
        texts[RECIPE_SUFFIX] = json.dumps(recipe, indent=2) + "\n"
    return {artifact.with_name(f"{artifact.name}{end}"): text for end, text in texts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A candidate in the picture; places in percent of its width and height."""

    left: float
    top: float
    label: str
    tone: str
    is_pareto: bool


def _drop(drop: float, report: QuantizationReport) -> str:
    is_share = report.evaluation is not None and report.evaluation.unit == "%"
    return f"{100 * drop:.2f} %" if is_share else f"{drop:.4g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Accuracy lost against size or latency."""

    title: str
    points: list[Point]
    left_end: str
    right_end: str
    top_end: str
    bottom_end: str
    budget: float | None


def render_quantization_page(report: QuantizationReport) -> str:
    """The page of a report, as HTML text: it needs no network and no script."""
    return _template().render(
        report=report,
        pictures=_pictures(report),
        best=[one for one in report.candidates if one.is_chosen or one.is_pareto],
        most_shown=_MOST_CANDIDATES,
        shell=shlex.join,
    )


@cache
def _template() -> Template:
    environment = open_templates(_TEMPLATES)
    environment.filters |= {
        "latency": format_latency,
        "precisions": format_precisions,
        "seconds": format_seconds,
        "size": format_size,
    }
    return environment.get_template("quantization.html.j2")


def _pictures(report: QuantizationReport) -> list[Picture]:
    """Accuracy against size and against latency, where anything was evaluated."""
    by_size = [(one, float(one.size_bytes)) for one in report.candidates if one.drop is not None]
    by_latency = [
        (one, one.latency_seconds)
        for one in report.candidates
        if one.drop is not None and one.latency_seconds is not None
    ]
    pictures = [
        _picture(report, "size", by_size, lambda value: format_size(round(value))),
        _picture(report, "latency", by_latency, format_latency),
    ]
    return [picture for picture in pictures if picture is not None]


def _picture(
    report: QuantizationReport,
    title: str,
    places: list[tuple[QuantizedCandidateReport, float]],
    tell: Callable[[float], str],
) -> Picture | None:
    if len(places) < 2:
        return None
    values = [value for _, value in places]
    drops = [one.drop or 0.0 for one, _ in places]
    budget = report.evaluation.max_drop if report.evaluation else None
    lows, highs = (min(values), min([0.0, *drops])), (max(values), max([*drops, budget or 0.0]))

    def place(value: float, drop: float) -> tuple[float, float]:
        across = (value - lows[0]) / ((highs[0] - lows[0]) or 1)
        down = (drop - lows[1]) / ((highs[1] - lows[1]) or 1)
        return round(4 + 92 * across, 2), round(6 + 88 * down, 2)

    points = []
    for one, value in places:
        left, top = place(value, one.drop or 0.0)
        tone = "chosen" if one.is_chosen else "within" if one.is_within else "outside"
        points.append(Point(left=left, top=top, label=one.name, tone=tone, is_pareto=one.is_pareto))
    return Picture(
        title=title,
        points=points,
        left_end=tell(lows[0]),
        right_end=tell(highs[0]),
        top_end=_drop(lows[1], report),
        bottom_end=_drop(highs[1], report),
        budget=None if budget is None else place(lows[0], budget)[1],
    )
