"""Plugins that behave badly, installed as a stranger's are, through the command line: each costs its route and no more."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import psutil
import pytest

from tests.cli.conftest import CommandLine, Refusals, Said

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm", "evil")]

NET = """
import torch
def build(): return torch.nn.Linear(4, 3), (torch.rand(2, 4),)
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:build"


def _convert(refused: Refusals, model: str, name: str, *words: str) -> Said:
    out = refused.out
    via = ("--via", f"evil-{name}", "--to", "tflite")
    return refused.edgeconv("convert", model, *via, "-o", out, "--json", "--diagnose", "0", *words)


def _goal(said: Said) -> dict[str, object]:
    (goal,) = cast("list[dict[str, object]]", said.data["goals"])
    return goal


@pytest.mark.parametrize(
    ("name", "ending", "texts"),
    [
        (
            "crash",
            ("step", 5),
            ["'evil-crash' crashed", "SIGSEGV", "in crash", "about to read address 0"],
        ),
        ("exit_process", ("step", 5), ["crashed", "ended with status 3"]),
        ("exit_politely", ("step", 5), ["SystemExit: cannot go on", "in exit_politely"]),
        ("run_out_of_memory", ("step", 5), ["MemoryError", "free memory"]),
        ("fill_disk", ("output", 2), ["No space left on device", "EDGECONV_CACHE_DIR"]),
        (
            "raise_error",
            ("step", 5),
            ["the seventh tensor is cursed", "in raise_error", "--verbose"],
        ),
        ("miss_tool", ("environment", 4), ["no_such_tool", "install the module"]),
        ("return_garbage", ("step", 5), ["list, not a mapping"]),
        ("return_unserializable", ("step", 5), ["not JSON serializable"]),
        ("return_nothing", ("step", 5), ["returned no JobResult"]),
        ("leave_no_output", ("step", 5), ["left no output"]),
        ("point_elsewhere", ("step", 5), ["left no output at 'hostname'"]),
        (
            "print_noise",
            ("validation", 6),
            ["no intact TFLite file", "it is kept with the verdict"],
        ),
    ],
)
def test_a_converter_that_does_harm(
    refused: Refusals, model: str, name: str, ending: tuple[str, int], texts: list[str]
) -> None:
    code, status = ending
    said = _convert(refused, model, name)
    error = cast("dict[str, object]", _goal(said)["error"])
    assert (said.status, said.data["exit_status"], error["code"]) == (status, status, code)
    for text in texts:
        assert text in said.err
    assert "Traceback" not in said.err
    left = {path.relative_to(refused.out).as_posix() for path in refused.out.rglob("*")}
    kept = {"rejected", "rejected/net.tflite", "rejected/net.tflite.json"}
    assert left == {"report.json", "report.html"} | (kept if status == 6 else set())
    assert not list((refused.edgeconv.cache / "runs").glob("*"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hang", "longer than 1 second"),
        ("hang_holding_the_lock", "longer than 1 second"),
        ("close_streams", "closed the connection"),
    ],
)
def test_a_converter_that_never_ends(refused: Refusals, model: str, name: str, text: str) -> None:
    assert _convert(refused, model, "return_nothing").status == 5  # the model is captured by now
    before = _sleepers()  # workers that live on from other tests may hold some
    said = _convert(refused, model, name, "--timeout", "1")
    assert said.status == 5
    assert text in said.err
    assert _sleepers() <= before


def _sleepers() -> set[int]:
    """Ids of the processes below this one that the hostile converters start."""
    below = psutil.Process().children(recursive=True)
    return {process.pid for process in below if process.name() == "sleep"}


def test_a_converter_that_fills_memory(
    refused: Refusals, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_MEMORY_LIMIT", "3G")
    assert (
        _convert(refused, model, "return_nothing").status == 5
    )  # capturing takes more than converting
    monkeypatch.setenv("EDGECONV_MEMORY_LIMIT", "300M")
    said = _convert(refused, model, "fill_memory")
    assert said.status == 5
    assert "took more than 300 MiB of memory" in said.err
    assert "EDGECONV_MEMORY_LIMIT" in said.err


def test_what_does_harm_costs_its_route_and_the_next_one_delivers(
    edgeconv: CommandLine, model: str, tmp_path: Path
) -> None:
    words = ("convert", model, "--to", "tflite", "-o", tmp_path / "out", "--timeout", "60")
    avoid = ("hang", "hang_holding_the_lock", "fill_memory", "close_streams", "fill_disk")
    said = edgeconv(*words, "--avoid", ",".join(f"evil-{name}" for name in avoid), "--json", "-q")
    assert said.status == 0, said.err
    attempts = cast("list[dict[str, object]]", _goal(said)["attempts"])
    results = [attempt["result"] for attempt in attempts]
    assert results.count("delivered") == 1
    assert results.count("rejected") == 1
    assert results.count("failed") == 11
    assert (tmp_path / "out" / "net.tflite").exists()


def test_a_plugin_that_cannot_be_loaded_is_told_and_stops_nothing(
    edgeconv: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "site" / "evil_specs.py").write_text("raise RuntimeError('not today')\n")
    said = edgeconv("plugins")
    assert said.status == 0
    assert "'evil' of 'evil-plugin': RuntimeError: not today" in said.out
    assert "edge-tflite" in said.out


def test_plugins_can_be_left_out(edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "evil-crash" in edgeconv("plugins").out
    monkeypatch.setenv("EDGECONV_PLUGINS", "")
    assert "evil-crash" not in edgeconv("plugins").out
