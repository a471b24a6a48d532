from __future__ import annotations

import pytest

from edgeconv.cli.progress import watch
from edgeconv.cli.screen import Screen, as_table
from edgeconv.errors import StepError
from edgeconv.execute.records import Step, StepRecord

STEP = Step(id="a/b", kind="convert", converter="edge-tflite", source="edge-graph", target="tflite")
VERIFY = Step(id="a/b/verify", kind="verify", converter="verify", source="tflite", target="tflite")
DONE = StepRecord(step=STEP, started_seconds=0.0, seconds=1.25)
FAILED = StepRecord(
    step=VERIFY,
    started_seconds=0.0,
    seconds=0.0,
    is_cache_hit=True,
    error=StepError("it crashed", why="signal [bold]SIGSEGV[/bold]"),
)


def _tell(screen: Screen) -> None:
    with watch(screen) as listener:
        for record in (DONE, FAILED):
            listener.step_started(record.step)
            listener.step_ended(record, None)


def test_without_a_terminal_a_step_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(Screen())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "ok      edge-graph → tflite (edge-tflite)  1.2 s",
        "failed  verify tflite  cached  it crashed: signal [bold]SIGSEGV[/bold]",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(Screen(is_quiet=True))
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_step_is_one_living_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    _tell(Screen())
    said = capsys.readouterr()
    assert said.out == ""
    assert "edge-graph → tflite (edge-tflite)" in said.err
    assert "✗ it crashed: signal [bold]SIGSEGV[/bold]" in said.err


def test_a_table_takes_text_as_it_is() -> None:
    text = as_table(("name", "size"), [("[red]a[/red]", "1"), ("b" * 300, "22")], right=(1,))
    assert "[red]a[/red]" in text
    assert "b" * 300 in text
    assert not any(line.endswith(" ") for line in text.splitlines())
