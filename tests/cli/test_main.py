from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.cli import main as entry
from edgeconv.errors import EdgeconvError, InternalError, error_classes
from tests.cli.conftest import CommandLine

BROKEN = {
    "fail": "tests.cli.broken:fail",
    "stumble": "tests.cli.broken:stumble",
    "wait": "tests.cli.broken:wait",
    "chatter": "tests.cli.broken:chatter",
    "parse": "tests.cli.broken:parse",
}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "COMMANDS", BROKEN)


def test_without_arguments_it_prints_the_help(edgeconv: CommandLine) -> None:
    said = edgeconv()
    assert said.status == 0
    for words in entry.COMMANDS:
        assert words.split()[0] in said.out
    assert said == edgeconv("--help") == edgeconv("-h")


@pytest.mark.parametrize("words", list(entry.COMMANDS))
def test_every_command_has_help_and_speaks_json(edgeconv: CommandLine, words: str) -> None:
    said = edgeconv(*words.split(), "--help")
    assert said.status == 0
    assert said.out.startswith(f"Usage: edgeconv {words}")
    for option in ("--json", "--quiet", "--verbose"):
        assert option in said.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no-such"], "no such command 'no-such'"),
        (["convrt"], "did you mean 'convert'"),
        (["cache"], "missing command"),
        (["cache", "no-such"], "no such command 'no-such'"),
        (["convert"], "missing argument 'MODEL'"),
        (["convert", "x.py:f"], "missing option"),
        (["convert", "x.py:f", "-o", "out", "--jobs", "many"], "--jobs"),
        (["convert", "x.py:f", "-o", "out", "--jobs", "0"], "--jobs"),
        (["convert", "x.py:f", "-o", "out", "--no-such"], "no such option: --no-such"),
        (["--no-such"], "no such option: --no-such"),
    ],
)
def test_a_wrong_command_line_is_told_in_our_way(
    edgeconv: CommandLine, arguments: list[str], text: str
) -> None:
    said = edgeconv(*arguments)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert text.lower() in said.err.lower()
    assert "\nhint: see: edgeconv" in said.err
    assert "Traceback" not in said.err


def test_a_wrong_command_line_is_json_when_that_was_asked_for(edgeconv: CommandLine) -> None:
    error = edgeconv("convert", "--json").data["error"]
    assert isinstance(error, dict)
    assert error["code"] == "usage"
    assert error["exit_status"] == 2


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("cls", list(error_classes()), ids=lambda cls: str(cls.code))
def test_every_error_ends_with_its_status(edgeconv: CommandLine, cls: type[EdgeconvError]) -> None:
    said = edgeconv("fail", cls.code)
    assert said.status == cls.exit_status
    assert said.err == (
        "error: 'x' failed\nwhy: it was told to\n  - a\n  - b\nhint: tell it otherwise\n"
    )
    told = edgeconv("fail", cls.code, "--json").data["error"]
    assert isinstance(told, dict)
    assert told["code"] == cls.code
    assert told["details"] == ["a", "b"]


@pytest.mark.usefixtures("broken")
def test_an_error_has_a_traceback_when_asked_for(edgeconv: CommandLine) -> None:
    assert "Traceback" not in edgeconv("fail", "usage").err
    assert "Traceback" in edgeconv("fail", "usage", "--verbose").err


@pytest.mark.usefixtures("broken")
def test_a_bug_is_told_as_one_and_its_traceback_is_kept(edgeconv: CommandLine) -> None:
    said = edgeconv("stumble")
    assert said.status == InternalError.exit_status == 70
    assert "ZeroDivisionError: the seventh divisor" in said.err
    assert "Traceback" not in said.err
    (log,) = (edgeconv.cache / "logs").iterdir()
    assert str(log) in said.err
    assert "Traceback" in log.read_text()
    assert "Traceback" in edgeconv("stumble", "--verbose").err


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("moment", ["parse", "wait"])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_it_in_order(
    edgeconv: CommandLine, moment: str, name: str, status: int
) -> None:
    said = edgeconv(moment, name)
    assert said.status == status
    assert said.err.startswith("interrupted")
    assert "Traceback" not in said.err


EARLY = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
from edgeconv.__main__ import main
main()
"""


def test_a_signal_while_modules_are_imported_ends_it_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_the_version_is_that_of_the_package(edgeconv: CommandLine) -> None:
    from importlib.metadata import version

    assert edgeconv("--version").out == f"edgeconv {version('edgeconv')}\n"


def test_a_reader_that_goes_away_is_met_with_silence(tmp_path: Path) -> None:
    code = (
        "import sys; from edgeconv.cli import main;"
        f"main.COMMANDS = {BROKEN!r}; sys.argv = ['edgeconv', 'chatter']; main.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_text_that_a_terminal_cannot_show_does_not_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", "plugins"],
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == b""
