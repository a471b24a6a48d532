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
| 129, 130, 143 | ended by SIGHUP, Ctrl-C, SIGTERM: what was delivered before is whole, nothing else is left |
| 141 | nobody reads the result any more |

With several formats asked for, what succeeded is delivered, and the status is that of the first failure.

| environment variable | meaning |
| --- | --- |
| `EDGECONV_CACHE_DIR` | where results of earlier runs are kept, and where runs work; else the user's cache folder |
| `EDGECONV_MEMORY_LIMIT` | most that one worker process may take, such as `4G`; else nine tenths of the machine's memory |
| `EDGECONV_OFFLINE` | `1`: nothing may be fetched |
| `EDGECONV_PLUGINS` | names of the plugins to load beside edgeconv's own, with commas between; all unless set |
| `EDGECONV_PASS_ENV` | names of further variables that factories and converters may see, with commas between |
| `NO_COLOR` | no colours |

A factory is looked for where Python looks for modules: in the folder edgeconv is called in, beside its file, in
`PYTHONPATH`, and among what is installed.
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
