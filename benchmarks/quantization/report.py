"""The figures of all attempts as tables, and whether what is aimed at is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.quantization.cases import Case
from benchmarks.quantization.costs import COSTS
from benchmarks.quantization.ours import OURS
from benchmarks.quantization.rivals import RIVALS
from benchmarks.quantization.rows import FLOAT, RECIPES, Row, Rows, key_of

__all__ = ["Aim", "aims_of", "write_report"]

_COLUMNS = (
    "edgeconv tflite",
    "ai-edge-quantizer",
    "TFLiteConverter",
    "edgeconv onnx",
    "onnxruntime",
    "onnxruntime, per channel",
)
# How much lower than in float a figure may be with int8 and no options.
_LARGEST_DROPS = {"top1": 0.005, "auc": 0.005, "cosine": 0.005}
_LARGEST_DROPS_BY_CASE = {
    "digits_mobilenetv3": 0.01,
    "digits_mobilenet_rescaled": 0.01,
    "digits_resnet8_rescaled": 0.01,
}
_LARGEST_SEARCH_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One thing that is aimed at: in words, and whether it is reached."""

    text: str
    is_reached: bool


def write_report(cases: Sequence[Case], rows: Rows) -> str:
    """Markdown: a table for each recipe, the costs, and what is aimed at."""
    parts = ["# Accuracy after quantization", _HOW]
    for recipe in RECIPES:
        parts += [f"## {recipe}", "\n".join(_table(cases, recipe, rows))]
    parts += [
        "## Costs",
        "\n".join(_costs(rows)),
        "## What is aimed at",
        "\n".join(_aims(cases, rows)),
    ]
    failures = list(_failures(rows))
    if failures:
        parts += ["## Failed", "\n".join(failures)]
    return "\n\n".join(parts) + "\n"


_HOW = (
    "Figures on the held-out samples (`test.npz`) after calibration with `calibration.npz`; in brackets the signal-to-noise "
    "ratio of the first output against the float file, in decibels, and the size of the file in kB. top1 and auc as in the "
    "cards; cosine: mean likeness to the float file's outputs. Everything with the defaults of its tool."
)


def _table(cases: Sequence[Case], recipe: str, rows: Rows) -> Iterator[str]:
    tools = [tool for tool in _COLUMNS if tool in OURS or recipe in RIVALS[tool].work]
    yield f"| model | metric | float | {' | '.join(tools)} |"
    yield f"| --- | --- | ---: |{' ---: |' * len(tools)}"
    for case in cases:
        float_row = rows.get(key_of(case.name, FLOAT, "edgeconv tflite"))
        cells = [_cell(rows.get(key_of(case.name, recipe, tool))) for tool in tools]
        yield f"| {case.name} | {case.metric} | {_figure(float_row)} | {' | '.join(cells)} |"


def _figure(row: Row | None) -> str:
    return "" if row is None or row.figure is None else f"{row.figure:.4f}"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.figure is None or row.snr_db is None or row.size_bytes is None:
        return "failed"
    return f"{row.figure:.4f} ({row.snr_db:.0f}, {row.size_bytes / 1000:.0f})"


def _costs(rows: Rows) -> Iterator[str]:
    yield "| what | seconds | peak memory, MB |"
    yield "| --- | ---: | ---: |"
    for key in COSTS:
        row = rows.get(key, Row())
        if row.seconds is None or row.peak_memory_bytes is None:
            yield f"| {key} | {'failed' if row.error else ''} | |"
        else:
            yield f"| {key} | {row.seconds:.1f} | {row.peak_memory_bytes / 1e6:.0f} |"


def _aims(cases: Sequence[Case], rows: Rows) -> Iterator[str]:
    for aim in aims_of(cases, rows):
        yield f"- {'reached' if aim.is_reached else '**missed**'}: {aim.text}"


def aims_of(cases: Sequence[Case], rows: Rows) -> list[Aim]:
    """What is aimed at, as far as it was measured."""
    found = [aim for case in cases for tool in OURS for aim in _aims_of_case(case, tool, rows)]
    return [*found, *_aims_of_costs(rows)]


def _aims_of_case(case: Case, tool: str, rows: Rows) -> Iterator[Aim]:
    """int8 loses little, and no less is lost by plain use of the libraries."""
    row = rows.get(key_of(case.name, "int8", tool))
    if row is None:
        return
    allowed = _LARGEST_DROPS_BY_CASE.get(case.name, _LARGEST_DROPS[case.metric])
    name, drop = f"{case.name}, {tool}, int8", row.drop
    if drop is None:
        yield Aim(text=f"{name}: {row.error}", is_reached=False)
        return
    yield Aim(text=f"{name}: drop {drop:.4f}, at most {allowed}", is_reached=drop <= allowed)
    for rival, other in _rivals_of(case, OURS[tool], rows).items():
        if other.drop is not None:
            text = f"{name}: drop {drop:.4f}, {rival}'s {other.drop:.4f}"
            yield Aim(text=text, is_reached=drop <= other.drop)


def _rivals_of(case: Case, format_id: str, rows: Rows) -> Mapping[str, Row]:
    keys = {name: key_of(case.name, "int8", name) for name, rival in RIVALS.items() if rival.writes == format_id}  # fmt: skip
    return {name: rows[key] for name, key in keys.items() if key in rows}


def _aims_of_costs(rows: Rows) -> Iterator[Aim]:
    few, many, search = (rows.get(key) for key in COSTS)
    if few and many and few.peak_memory_bytes and many.peak_memory_bytes:
        ratio = many.peak_memory_bytes / few.peak_memory_bytes
        text = (
            f"peak memory with a thousand times the samples: {ratio:.2f} times as much, at most 1.1"
        )
        yield Aim(text=text, is_reached=ratio <= 1.1)
    if search and search.seconds is not None:
        text = (
            f"search on digits_mobilenet: {search.seconds:.0f} s, at most {_LARGEST_SEARCH_SECONDS}"
        )
        yield Aim(text=text, is_reached=search.seconds <= _LARGEST_SEARCH_SECONDS)


def _failures(rows: Rows) -> Iterator[str]:
    for key, row in rows.items():
        if row.error:
            yield f"- {key}: {row.error}"
