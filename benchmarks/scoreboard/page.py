"""Draws the scoreboard as one HTML page that needs nothing else: no network, no script.

`python -m benchmarks.scoreboard.page BOARD.json PAGE.html`
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scoreboard.board import FORMATS, Board, PeerTotal
from edgeconv.report.document import write_text
from edgeconv.report.page import open_templates

__all__ = ["FormatTotal", "draw_page", "write_page"]

_TEMPLATES = Path(__file__).with_name("templates")
_TITLES = {
    "onnx": "ONNX",
    "torchscript": "TorchScript",
    "savedmodel": "SavedModel",
    "tflite": "TFLite",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatTotal:
    """One format over all models.

    Attributes:
        id: Of the format.
        title: As people write it.
        verified: How many models were delivered.
        models: How many were tried.
        seconds: Median of capture, conversion and verification together; None without any.
        peers: What others reach.
    """

    id: str
    title: str
    verified: int
    models: int
    seconds: float | None
    peers: tuple[PeerTotal, ...]


def draw_page(board: Board) -> str:
    """The page as text."""
    environment = open_templates(_TEMPLATES)
    environment.filters |= {"size": _size, "short": _short}
    dates = sorted({row.date for row in board.models.values()})
    return environment.get_template("scoreboard.html.j2").render(
        board=board,
        titles=_TITLES,
        totals=[_total(name, board) for name in FORMATS],
        whole=sum(row.is_whole for row in board.models.values()),
        dates=" to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "",
        seconds=_median(row.seconds for row in board.models.values()),
        over=[
            name
            for name, row in board.models.items()
            if row.memory_over_bar is not None and row.memory_over_bar > 1
        ],
    )


def write_page(board: Board, path: Path) -> None:
    """Write the page aside, then in place of the old one."""
    write_text(path, draw_page(board))


def _total(format_id: str, board: Board) -> FormatTotal:
    rows = [(row, row.formats[format_id]) for row in board.models.values()]
    return FormatTotal(
        id=format_id,
        title=_TITLES[format_id],
        verified=board.verified(format_id),
        models=len(rows),
        seconds=_median(
            model.capture_seconds + row.seconds
            for model, row in rows
            if row.is_verified and model.capture_seconds is not None and row.seconds is not None
        ),
        peers=tuple(peer for peer in board.peers if peer.format == format_id),
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{_short(count / 1e6)} MB"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    write_page(Board.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
