"""Standard streams that are closed, full, or read by nobody, and terminals of all sorts."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

NET = "def build(): raise RuntimeError('not run by these')\n"


def _environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "EDGECONV_CACHE_DIR": str(tmp_path / "cache"), **more}


def _shell(tmp_path: Path, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("edgeconv", f"{sys.executable} -m edgeconv")
    return subprocess.run(
        ["/bin/bash", "-c", command],
        env=_environment(tmp_path, **more),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", ["plugins", "plugins --json", "report schema"])
def test_a_full_stdout_is_an_error_and_no_bug(tmp_path: Path, words: str) -> None:
    done = _shell(tmp_path, f"edgeconv {words} >/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: the result cannot be written to stdout\nwhy: No space left"
    )
    assert "Traceback" not in done.stderr


def test_a_stderr_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    done = _shell(tmp_path, "edgeconv plan none.py:f 2>/dev/full; echo $?")
    assert done.stdout == "2\n"
    done = _shell(tmp_path, "edgeconv plan none.py:f --json 2>/dev/full")
    assert done.stdout.startswith('{\n  "error"')


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(tmp_path: Path, closed: str) -> None:
    (tmp_path / "net.py").write_text(NET)
    done = _shell(tmp_path, f"edgeconv plan net.py:build --to torchscript {closed}")
    assert done.returncode == 0
    assert done.stderr == ""
    done = _shell(tmp_path, f"edgeconv plan none.py:f {closed}")
    assert done.returncode == 2


def test_a_reader_that_goes_away_at_once_is_met_with_silence(tmp_path: Path) -> None:
    reader = "{ exec 0<&-; sleep 2; }"
    done = _shell(tmp_path, f"edgeconv report schema | {reader}; echo ${{PIPESTATUS[0]}}")
    assert done.stdout == "141\n"
    assert done.stderr == ""


def _on_terminal(tmp_path: Path, columns: int, *words: str, **more: str) -> str:
    """What a command prints on a terminal of some width."""
    environment = _environment(tmp_path, TERM="xterm", LANG="C.UTF-8", **more)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "edgeconv", *words], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    told = b""
    while True:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:  # how a terminal says that nobody writes any more
            break
        if not chunk:
            break
        told += chunk
    os.waitpid(pid, 0)
    return told.decode().replace("\r\n", "\n")


def test_a_narrow_terminal_gets_blocks_in_place_of_a_table(tmp_path: Path) -> None:
    told = _on_terminal(tmp_path, 40, "plugins")
    assert "converter     torch-onnx-torchscript\n" in told
    assert max(len(line) for line in told.splitlines()) <= 40
    wide = _on_terminal(tmp_path, 200, "plugins")
    assert "torch-onnx-torchscript" in wide
    assert "converter     torch-onnx" not in wide


def test_colours_are_left_out_where_nobody_wants_them(tmp_path: Path) -> None:
    assert "\x1b[" in _on_terminal(tmp_path, 200, "plugins")
    assert "\x1b[3" not in _on_terminal(tmp_path, 200, "plugins", NO_COLOR="1")
    assert "\x1b" not in _shell(tmp_path, "edgeconv plugins").stdout


@pytest.mark.parametrize("columns", ["40", "200"])
def test_without_a_terminal_lines_are_as_long_as_they_need_to_be(
    tmp_path: Path, columns: str
) -> None:
    first = _shell(tmp_path, "edgeconv plugins", COLUMNS=columns).stdout
    assert first == _shell(tmp_path, "edgeconv plugins").stdout
