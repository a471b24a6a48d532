"""Texts of somebody else's: in other encodings, with control characters, without an end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeconv.cli.screen import print_message
from tests.cli.conftest import Refusals


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text("def build(): return None\n")
    return f"{tmp_path / 'net.py'}:build"


@pytest.mark.parametrize("option", ["--author", "--description"])
def test_bytes_that_are_no_text_are_refused(refused: Refusals, model: str, option: str) -> None:
    words = (option, os.fsdecode(b"caf\xe9"))
    refused.convert(model, *words, code="usage", status=2, texts=["is no text in UTF-8"])


@pytest.mark.parametrize("option", ["--weights", "--samples", "--labels"])
def test_a_pipe_is_not_read(refused: Refusals, model: str, tmp_path: Path, option: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = (option, str(tmp_path / "pipe"))
    refused.convert(model, *words, code="invalid-input", status=2, texts=["regular file"])


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_a_report_without_an_end_is_not_read(refused: Refusals, tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    texts = ["no regular file of at most"]
    refused("report", "show", tmp_path / path, code="invalid-input", status=2, texts=texts)


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("error: \x1b[31mred\x00\n\tnext line")
    assert capsys.readouterr().err == "error: \\x1b[31mred\\x00\n\tnext line\n"
