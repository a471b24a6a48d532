"""Where a command writes: its result to stdout, as text or as one JSON document, everything else to stderr."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from edgeconv.errors import OutputError
from edgeconv.report.strict_json import strict

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen", "as_table", "print_message", "print_result"]

# Where nobody looks at a terminal, lines are as long as they need to be.
_WIDE = 400
_GAP = 3
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """How a command was asked to speak.

    Attributes:
        is_json: Print the result as one JSON document.
        is_quiet: Print nothing but the result.
        is_verbose: Print what happens.
    """

    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False

    def show(self, data: Mapping[str, object], text: str) -> None:
        """Print the result.

        Args:
            data: What `--json` prints.
            text: What people read.
        """
        print_result(json.dumps(strict(data), indent=2) if self.is_json else text)

    def show_json_text(self, document: str, text: str) -> None:
        """Print a result that is a JSON document already."""
        print_result(document.rstrip("\n") if self.is_json else text)

    def note(self, text: str) -> None:
        """Tell something beside the result."""
        if not self.is_quiet:
            print_message(text)


def print_result(text: str) -> None:
    """Print to stdout.

    Raises:
        OutputError: It cannot be written, to a full disk for example.
        BrokenPipeError: Nobody reads it any more.
    """
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            "the result cannot be written to stdout",
            why=error.strerror or str(error),
            hint="send it somewhere else",
        ) from error


def print_message(text: str) -> None:
    """Print to stderr; that nobody can read it, or that its disk is full, must not end the work.

    Control characters, which may stand in a text of somebody else's and would steer the terminal, are shown as such.
    """
    shown = _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)
    with suppress(OSError):
        sys.stderr.write(f"{shown}\n")
        sys.stderr.flush()


def as_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    """A table as text, as wide as the terminal, or as wide as it needs where there is none.

    Where the terminal is too narrow for its words, each row is a block with a line for each cell.

    Args:
        header: Titles of the columns.
        rows: Cells, one sequence for each row.
        right: Columns that are flush right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, title in enumerate(header):
        table.add_column(
            Text(title), justify="right" if index in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    text = io.StringIO()
    console = open_console(sys.stdout, into=text)
    if _least_width(header, rows) > console.width:
        return _as_blocks(header, rows, console.width)
    console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip("\n").splitlines())


def _least_width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The width at which no word of a table is cut."""
    columns = zip(header, *rows, strict=True)
    widest = [
        max(len(word) for cell in column for word in cell.split() or [""]) for column in columns
    ]
    return sum(widest) + _GAP * (len(widest) - 1)


def _as_blocks(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    indent = max(len(title) for title in header) + 2
    blocks = []
    for row in rows:
        lines: list[str] = []
        for title, cell in zip(header, row, strict=True):
            room = max(width - indent, 10)
            first, *more = textwrap.wrap(cell, room, break_on_hyphens=False) or [""]
            if first not in ("", "-"):
                lines.append(f"{title:{indent}}{first}")
                lines += [" " * indent + line for line in more]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def open_console(stream: TextIO, *, into: TextIO | None = None) -> Console:
    """A console that takes text as it is: names of models are not markup.

    Args:
        stream: What the text is for: its width and whether it is a terminal are looked at.
        into: Where the text goes meanwhile; to `stream` unless given.
    """
    from rich.console import Console

    is_terminal = stream.isatty()
    return Console(
        file=into or stream,
        width=shutil.get_terminal_size().columns if is_terminal else _WIDE,
        force_terminal=is_terminal,
        markup=False,
        highlight=False,
        emoji=False,
    )
