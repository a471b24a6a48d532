"""`edgeconv report` on the reports of quantizations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.cli.quantizable import Shelf

pytest.importorskip("ai_edge_quantizer")
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cli-quantize")]

FILE = "network.int8.tflite"


@pytest.fixture(autouse=True)
def _warm(warm: None) -> None:
    """Every command here runs in a worker that has imported its runtime."""


@pytest.fixture
def folder(edgeconv: CommandLine, shelf: Shelf, tmp_path: Path) -> Path:
    """A quantization, with its report."""
    words = ("--calibration", shelf.calibration, "--data", shelf.test, "--observer", "min-max")
    more = ("--max-drop", "10%", "-q", "-o", tmp_path / "out")
    assert edgeconv("quantize", shelf.tflite, *words, *more).status == 0
    return tmp_path / "out"


def test_a_report_is_shown_and_drawn(edgeconv: CommandLine, folder: Path) -> None:
    report = folder / f"{FILE}.report.json"
    said = edgeconv("report", "show", report)
    assert said.status == 0, said.err
    for text in (
        "network, quantized to int8 from ",
        "top1",
        f"delivered: {FILE}",
        "measured: top1 on 120 samples, at most 0.1 may be lost",
        "calibrated: with 48 of 48 samples, ranges by min-max",
    ):
        assert text in said.out
    for other in (folder, folder / FILE):
        assert edgeconv("report", "show", other).out == said.out
    written = report.read_text()
    assert edgeconv("report", "show", report, "--json").data == json.loads(written)

    page = folder / f"{FILE}.report.html"
    drawn = page.read_text()
    page.unlink()
    assert edgeconv("report", "html", report).out.strip() == str(page)
    assert page.read_text() == drawn
    assert not (folder / "report.html").exists()


def test_operators_in_another_precision_are_named(edgeconv: CommandLine, folder: Path) -> None:
    path = folder / f"{FILE}.report.json"
    report = json.loads(path.read_text())
    kept = {"code": "SOFTMAX", "precision": "float32", "reason": "it is too sensitive"}
    report["operators_kept"] = [{"name": f"layer_{number}", **kept} for number in range(14)]
    path.write_text(json.dumps(report, sort_keys=True))
    said = edgeconv("report", "show", path)
    assert "layer_9 (SOFTMAX): float32, it is too sensitive" in said.out
    assert "layer_10" not in said.out
    assert "and 4 more" in said.out


def test_of_many_candidates_the_best_are_shown(edgeconv: CommandLine, folder: Path) -> None:
    path = folder / f"{FILE}.report.json"
    report = json.loads(path.read_text())
    chosen = next(one for one in report["candidates"] if one["is_chosen"])
    other = {**chosen, "is_chosen": False, "is_pareto": False}
    for count, is_cut in ((11, False), (12, True)):
        report["candidates"] = [chosen, *({**other, "name": f"try {n}"} for n in range(count))]
        path.write_text(json.dumps(report))
        said = edgeconv("report", "show", path)
        assert ("try 5" not in said.out) is is_cut
        assert (f"{count} more were measured" in said.out) is is_cut
        assert "(chosen)" in said.out


def test_what_was_not_delivered_says_why(
    edgeconv: CommandLine, shelf: Shelf, tmp_path: Path
) -> None:
    words = ("--calibration", shelf.calibration, "--data", shelf.test, "--search-seconds", "0")
    out = ("--recipe", "int4-weights", "--max-drop", "0", "-o", tmp_path / "out", "-q")
    assert edgeconv("quantize", shelf.tflite, *words, *out).status == 6
    said = edgeconv("report", "show", tmp_path / "out" / "rejected")
    assert said.status == 0, said.err
    assert "not delivered: no int4-weights model within the budget was found" in said.out
    assert "hint: " in said.out


def test_one_of_several_has_to_be_named(edgeconv: CommandLine, folder: Path) -> None:
    first = folder / f"{FILE}.report.json"
    second = folder / "other.fp16.tflite.report.json"
    second.write_text(first.read_text())
    said = edgeconv("report", "show", folder)
    assert said.status == 2
    assert str(first) in said.err
    assert str(second) in said.err
    (folder / "report.json").write_text("{}")
    assert "is no report of this version" in edgeconv("report", "show", folder).err
    second.write_text(json.dumps({"schema": "edgeconv.quantization/1"}))
    said = edgeconv("report", "show", second)
    assert said.status == 2
    assert "recipe: Field required" in said.err
