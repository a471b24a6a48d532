"""The text of a quantization, drawn from its report: what ends a run, and what `edgeconv report show` says of it later."""

from __future__ import annotations

from edgeconv.cli.screen import as_table
from edgeconv.report.figures import format_latency, format_precisions, format_size
from edgeconv.report.quantization import (
    EvaluationReport,
    QuantizationReport,
    QuantizedCandidateReport,
)

__all__ = ["describe_quantization", "summarize_quantization"]

_SHOWN_KEPT = 10
_SHOWN_CANDIDATES = 12


def summarize_quantization(report: QuantizationReport) -> str:
    """The float model, what was chosen, what was measured, and what its operators compute in."""
    more = "; the report says why" if report.operators_kept else ""
    return f"{_table(report)}{more}"


def _table(report: QuantizationReport) -> str:
    judged = report.evaluation
    header = ["", "size", "latency", *([judged.metric, "lost"] if judged else []), "SNR"]
    float_cells = [
        "float32",
        format_size(report.float_model.size_bytes),
        format_latency(report.float_model.latency_seconds)
        if report.float_model.latency_seconds
        else "-",
        *([format(judged.before, _style(judged)), "-"] if judged else []),
        "-",
    ]
    measured = [one for one in report.candidates if one.is_chosen or one.score is not None]
    is_long = len(measured) > _SHOWN_CANDIDATES
    shown = [one for one in measured if one.is_chosen or one.is_pareto] if is_long else measured
    rows = [float_cells, *(_cells(one, judged) for one in shown)]
    table = as_table(header, rows, right=tuple(range(1, len(header))))
    if is_long:
        table += f"\n{len(measured) - len(shown)} more were measured, which are no better in size or accuracy"
    return f"{table}\n{format_precisions(report.precisions)}"


def describe_quantization(report: QuantizationReport) -> str:
    """All that a report says in a few paragraphs: what was made of what, its figures, and how it was made."""
    parts = (
        f"{report.name}, quantized to {report.recipe} from {report.source} at {report.created}",
        _table(report),
        _outcome(report),
        _kept(report),
        "\n".join(f"warning: {text}" for text in report.warnings),
    )
    return "\n\n".join(filter(None, parts))


def _style(judged: EvaluationReport) -> str:
    """Shares have four places; other figures may be of any size."""
    return ".4f" if judged.unit == "%" else ".4g"


def _cells(one: QuantizedCandidateReport, judged: EvaluationReport | None) -> list[str]:
    scores = []
    if judged is not None:
        style = _style(judged)
        scores = [
            "-" if one.score is None else format(one.score, style),
            "-" if one.drop is None else format(one.drop, f"+{style}"),
        ]
    return [
        f"{one.name}{' (chosen)' if one.is_chosen else ''}",
        format_size(one.size_bytes),
        format_latency(one.latency_seconds) if one.latency_seconds else "-",
        *scores,
        "-" if one.snr_db is None else f"{one.snr_db:.1f} dB",
    ]


def _outcome(report: QuantizationReport) -> str:
    """What became of it, and with what it was calibrated and measured."""
    lines = []
    if report.error is not None:
        lines += [f"not delivered: {report.error.message}", f"why: {report.error.why}"]
        lines += [f"hint: {report.error.hint}"] if report.error.hint else []
    else:
        lines.append(f"delivered: {report.artifact}")
    if judged := report.evaluation:
        budget = "" if judged.max_drop is None else f", at most {judged.max_drop:g} may be lost"
        lines.append(f"measured: {judged.metric} on {judged.samples} samples{budget}")
    if used := report.calibration:
        lines.append(
            f"calibrated: with {used.samples} samples of noise"
            if used.is_random
            else f"calibrated: with {used.samples} of {used.of} samples, ranges by {report.observer}"
        )
    return "\n".join(lines)


def _kept(report: QuantizationReport) -> str:
    """Operators in another precision than the recipe's; the first of them, if there are many."""
    lines = [
        f"{one.name} ({one.code}): {one.precision}{f', {one.reason}' if one.reason else ''}"
        for one in report.operators_kept
    ]
    more = len(lines) - _SHOWN_KEPT
    shown = [*lines[:_SHOWN_KEPT], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join(["kept otherwise:", *(f"  - {line}" for line in shown)]) if lines else ""
