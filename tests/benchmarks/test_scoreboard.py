"""The scoreboard converts, measures and shows what it found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import Limits
from benchmarks.scoreboard.board import (
    FORMATS,
    Board,
    FormatRow,
    Machine,
    ModelRow,
    PeerTotal,
)
from benchmarks.scoreboard.page import draw_page
from benchmarks.scoreboard.tables import write_table

_ZOO = """
import torch

def names():
    return ["small:linear"]

def build(name):
    torch.manual_seed(0)
    return torch.nn.Linear(8, 4).eval(), (torch.randn(2, 8),)
"""


def _row(*, is_whole: bool = True, peak: int = 1_000_000_000) -> ModelRow:
    verified = FormatRow(is_verified=True, seconds=1.5, size_bytes=4_000_000, latency_ms=12.5)
    missing = FormatRow(is_verified=False, error="<no & route>", seconds=0.1)
    formats = dict.fromkeys(FORMATS, verified)
    return ModelRow(
        date="2026-01-02",
        seconds=9.0,
        capture_seconds=3.0,
        peak_memory_bytes=peak,
        parameters=1_000_000,
        formats=formats if is_whole else {**formats, "tflite": missing},
    )


def _board(**rows: ModelRow) -> Board:
    machine = Machine(
        processor="Chip", cores=2, memory_bytes=8 * 10**9, system="Linux", python="3.11"
    )
    peer = PeerTotal(
        tool="other-tool", format="tflite", models=9, ok=7, wrong=1, median_seconds=4.0
    )
    return Board(machine=machine, versions={"torch": "2"}, models=rows, peers=(peer,))


def test_a_board_is_read_as_it_was_written() -> None:
    board = _board(a=_row(), b=_row(is_whole=False))
    assert Board.model_validate_json(board.model_dump_json(exclude_defaults=True)) == board


def test_rows_stand_in_the_order_of_the_zoo() -> None:
    board = _board(b=_row(), c=_row()).with_row("a", _row(is_whole=False), ["a", "b", "c"])
    assert list(board.models) == ["a", "b", "c"]
    assert board.verified("tflite") == 2
    assert not board.models["a"].is_whole


def test_the_bar_is_four_times_the_weights_and_the_frameworks() -> None:
    bar = 4 * 4 * 1_000_000 + 1_500_000_000
    assert _row(peak=bar).memory_over_bar == 1.0
    assert _row(peak=bar // 2).memory_over_bar == 0.5


def test_the_page_and_the_table_say_what_is_missing(tmp_path: Path) -> None:
    board = _board(good=_row(), poor=_row(is_whole=False, peak=2_000_000_000))
    page = draw_page(board)
    assert "1 of 2 models in every format" in page
    assert "1 / 2" in page
    assert "&lt;no &amp; route&gt;" in page
    assert "other-tool" in page
    assert "1 model goes over it" in page
    assert "2026-01-02" in page
    write_table(board, tmp_path / "board.md")
    table = (tmp_path / "board.md").read_text()
    assert "tflite 1 of 2" in table
    assert "| poor | 9.0 | 2000 | 1.32 |" in table
    assert "**missing**" in table


@pytest.mark.integration
@pytest.mark.slow
def test_a_model_is_converted_and_timed(tmp_path: Path) -> None:
    from benchmarks.scoreboard.conversion import convert_model

    (tmp_path / "models.py").write_text(_ZOO)
    row = convert_model(tmp_path, "small:linear", Limits(seconds=600))
    assert row.is_whole, row.error
    assert row.parameters == 36
    assert row.capture_seconds is not None
    for name, item in row.formats.items():
        assert item.latency_ms is not None, name
        assert 0 < item.latency_ms < 1000
        assert item.size_bytes is not None, name
        assert item.relative_error is not None, name
        assert item.relative_error < 1e-5


@pytest.mark.integration
def test_a_model_over_a_limit_is_a_row_that_says_so(tmp_path: Path) -> None:
    from benchmarks.scoreboard.conversion import convert_model

    (tmp_path / "models.py").write_text(_ZOO)
    row = convert_model(tmp_path, "small:linear", Limits(seconds=0.3))
    assert row.exceeded == "time"
    assert not row.is_whole
    assert [item.is_verified for item in row.formats.values()] == [False] * 4
