"""Which command lines have a worker started before they are read, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from edgeconv.cli.ahead import started_ahead, workers_ahead

_MODEL = "models.py:create"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", _MODEL, "-o", "OUT"],
        ["convert", "--to", "tflite", "--output", "OUT", "model.pt2"],
        ["convert", "model.pt", "--output=OUT"],
    ],
)
def test_a_new_conversion_has_its_worker(arguments: list[str], tmp_path: Path) -> None:
    with workers_ahead([word.replace("OUT", str(tmp_path)) for word in arguments]):
        workers = started_ahead()
        assert workers is not None
        assert workers.started == 1
        assert len(psutil.Process().children()) == 1
    assert started_ahead() is None
    assert psutil.Process().children() == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["convert", "--help"],
        ["convert", _MODEL],
        ["convert", _MODEL, "-o"],
        ["convert", "model.onnx", "-o", "OUT"],
        ["inspect", _MODEL],
    ],
)
def test_nothing_else_starts_one(arguments: list[str], tmp_path: Path) -> None:
    with workers_ahead([word.replace("OUT", str(tmp_path)) for word in arguments]):
        assert started_ahead() is None


def test_what_was_converted_before_is_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with workers_ahead(["convert", _MODEL, "-o", str(tmp_path)]):
        assert started_ahead() is None


def test_settings_that_mean_nothing_are_told_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_OFFLINE", "perhaps")
    with workers_ahead(["convert", _MODEL, "-o", str(tmp_path)]):
        assert started_ahead() is None
