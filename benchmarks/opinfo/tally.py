"""Counts what passed, and tells what failed without a named reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.opinfo.exceptions import Exemption, find_exemption, read_exemptions
from benchmarks.opinfo.formats import FORMATS
from benchmarks.opinfo.rows import Result, Row
from benchmarks.opinfo.samples import Unit

__all__ = ["describe", "draw_tables", "write_results"]

# Which samples a line of the table counts.
_CLASSES: Mapping[str, Callable[[Row], bool]] = {
    "Core ATen, as exported": lambda row: row.core == "exported",
    "Core ATen, once decomposed": lambda row: row.core != "",
    "outside Core ATen": lambda row: row.core == "",
    "all operators": lambda _: True,
}


def describe(result: Result) -> str:
    """One line of an operator and dtype."""
    if result.error:
        return result.error
    rows = result.captured
    passed = ", ".join(f"{name} {_passed(rows, name)}" for name in FORMATS)
    return f"{len(rows)} of {len(result.rows)} captured; passed: {passed}"


def write_results(results: Mapping[Unit, Result], path: Path, *, samples: int) -> str:
    """Write the table at a path as `.md`, and what of each operator passed as `.json`.

    Returns:
        The tables for people.
    """
    text = draw_tables(results, samples=samples)
    path.with_suffix(".md").write_text(text + "\n")
    data = {f"{operator} {dtype}": _summary(r) for (operator, dtype), r in results.items()}
    path.with_suffix(".json").write_text(json.dumps(data, indent=0) + "\n")
    return text


def draw_tables(results: Mapping[Unit, Result], *, samples: int) -> str:
    """The tables for people."""
    exemptions = read_exemptions()
    return "\n".join(
        [
            _headline(results, samples),
            "",
            *_figures(results),
            "",
            *_reasons(results, exemptions),
            "",
            *_unexplained(results, exemptions),
        ]
    )


def _headline(results: Mapping[Unit, Result], samples: int) -> str:
    rows = [row for result in results.values() for row in result.rows]
    operators = len({operator for operator, _ in results})
    captured = sum(not row.uncaptured for row in rows)
    which = f"up to {samples} of each operator and dtype" if samples else "all there are"
    return (
        f"PyTorch's OpInfo database: {operators} operators, {len(rows)} samples ({which}), of which torch.export captures "
        f"{captured}."
    )


def _figures(results: Mapping[Unit, Result]) -> list[str]:
    titles = [format_.title for format_ in FORMATS.values()]
    heads = ["captured", *titles, "operators", *(f"all in {title}" for title in titles)]
    lines = [f"| samples | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for title, belongs in _CLASSES.items():
        by_operator: dict[str, list[Row]] = {}
        for (operator, _), result in results.items():
            by_operator.setdefault(operator, []).extend(filter(belongs, result.captured))
        groups = [rows for rows in by_operator.values() if rows]
        rows = [row for group in groups for row in group]
        whole = [
            _share(sum(_passed(g, name) == len(g) for g in groups), len(groups)) for name in FORMATS
        ]
        cells = [_share(_passed(rows, name), len(rows)) for name in FORMATS]
        lines.append(
            f"| {title} | {len(rows)} | {' | '.join(cells)} | {len(groups)} | {' | '.join(whole)} |"
        )
    return lines


def _passed(rows: Sequence[Row], format_id: str) -> int:
    return sum(not row.failures[format_id] for row in rows)


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.2f} %)" if whole else "-"


def _failures(results: Mapping[Unit, Result]) -> list[tuple[Unit, Row, str, str]]:
    return [
        (unit, row, format_id, failure)
        for unit, result in results.items()
        for row in result.captured
        for format_id, failure in row.failures.items()
        if failure
    ]


def _reasons(results: Mapping[Unit, Result], exemptions: Sequence[Exemption]) -> list[str]:
    counts: Counter[str] = Counter()
    for (operator, _), _, format_id, failure in _failures(results):
        found = find_exemption(exemptions, operator, format_id, failure)
        counts[found.reason if found else "no reason is named"] += 1
    lines = ["| failures | reason |", "| ---: | --- |"]
    return [*lines, *(f"| {count} | {reason} |" for reason, count in counts.most_common())]


def _unexplained(results: Mapping[Unit, Result], exemptions: Sequence[Exemption]) -> list[str]:
    """Failures without a reason, and reasons without a failure."""
    lines = [
        f"- {operator} {dtype} {row.index}, {format_id}: {failure}"
        for (operator, dtype), row, format_id, failure in _failures(results)
        if find_exemption(exemptions, operator, format_id, failure) is None
    ]
    needed = {
        (id(found), operator)
        for (operator, _), _, format_id, failure in _failures(results)
        if (found := find_exemption(exemptions, operator, format_id, failure)) is not None
    }
    judged = {(unit, row.index) for unit, result in results.items() for row in result.captured}
    stale = [
        f"- the exception of {operator} is not needed: {exemption.reason}"
        for exemption in exemptions
        for operator, witness in exemption.witnesses.items()
        if (witness.unit, witness.index) in judged and (id(exemption), operator) not in needed
    ]
    return lines + stale


def _summary(result: Result) -> dict[str, object]:
    rows = result.captured
    failed = {
        format_id: {
            str(row.index): row.failures[format_id] for row in rows if row.failures[format_id]
        }
        for format_id in FORMATS
    }
    return {
        "samples": result.count,
        "judged": len(result.rows),
        "captured": len(rows),
        "core": dict(Counter(row.core for row in rows if row.core)),
        "failed": {format_id: found for format_id, found in failed.items() if found},
        **({"error": result.error} if result.error else {}),
    }
