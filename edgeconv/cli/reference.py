"""Writes docs/cli.md from the commands themselves: `python -m edgeconv.cli.reference > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

from typer.main import get_command

from edgeconv.cli.main import COMMANDS, build_app

__all__ = ["make_reference"]

_WIDTH = 96
_INTRODUCTION = """\
# The command line

This page is made from the commands: `python -m edgeconv.cli.reference > docs/cli.md`.

Every command takes `--json` (one JSON document on stdout), `--quiet` and `--verbose`. Results go to stdout,
progress and messages to stderr. An error says what failed, why, and what to do; it also says so on stdout, as
`{"error": …}`, when `--json` was given and there is no result.

| exit status | meaning |
| --- | --- |
| 0 | ok |
| 2 | the command line, the model or the output folder cannot be used |
| 3 | no route leads to a format |
| 4 | something is not installed |
| 5 | conversion failed |
| 6 | an artifact does not compute what the model computes |
| 9 | refused: the model would run code when read |
| 70 | a bug in edgeconv |
| 130, 143 | interrupted, terminated |

With several formats asked for, what succeeded is delivered, and the status is that of the first failure.
"""


def make_reference() -> str:
    """The page as Markdown."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for words in COMMANDS:
        yield f"## edgeconv {words}\n\n```text\n{_help(words)}\n```\n"


def _help(words: str) -> str:
    """The help of a command, as wide as the page and not as the terminal."""
    command = get_command(build_app([words]))
    text = StringIO()
    with redirect_stdout(text):
        command.main(
            [*words.split(), "--help"],
            prog_name="edgeconv",
            standalone_mode=False,
            terminal_width=_WIDTH,
        )
    return text.getvalue().rstrip()


if __name__ == "__main__":
    print(make_reference(), end="")
