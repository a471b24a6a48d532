"""The scoreboard as a table in Markdown."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scoreboard.board import FORMATS, Board, FormatRow, ModelRow

__all__ = ["write_table"]


def write_table(board: Board, path: Path) -> None:
    """Write all rows; each cell of a format holds its seconds, size and latency, or that it is missing."""
    totals = [f"{name} {board.verified(name)} of {len(board.models)}" for name in FORMATS]
    head = ["model", "seconds", "peak MB", "of the bar", *FORMATS]
    rows = [_row(name, row) for name, row in board.models.items()]
    about = "Cells: seconds after the capture, MB on disk, ms a run on one thread."
    lines = [
        f"Verified: {', '.join(totals)}. {about} Bar: four times the weights and 1.5 GB.",
        "",
        f"{board.machine.processor}, {board.machine.cores} cores. "
        + ", ".join(f"{name} {version}" for name, version in board.versions.items())
        + ".",
        "",
        _line(head),
        _line(["---", "---:", "---:", "---:", *["---:"] * len(FORMATS)]),
        *map(_line, rows),
    ]
    path.write_text("\n".join(lines) + "\n")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(name: str, row: ModelRow) -> list[str]:
    share = row.memory_over_bar
    return [
        name,
        f"{row.seconds:.1f}" if not row.exceeded else f"over the limit of {row.exceeded}",
        f"{row.peak_memory_bytes / 1e6:.0f}",
        "" if share is None else f"{share:.2f}",
        *[_cell(row.formats[format_id]) for format_id in FORMATS],
    ]


def _cell(row: FormatRow) -> str:
    if not row.is_verified:
        return "**missing**"
    latency = "?" if row.latency_ms is None else f"{row.latency_ms:.3g} ms"
    return f"{row.seconds} s, {(row.size_bytes or 0) / 1e6:.3g} MB, {latency}"
