"""Where a command writes: its result to stdout, as text or as one JSON document, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeconv.report.strict_json import strict

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen", "as_table"]

# Where nobody looks at a terminal, lines are as long as they need to be.
_WIDE = 400


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
        print(json.dumps(strict(data), indent=2) if self.is_json else text)

    def show_json_text(self, document: str, text: str) -> None:
        """Print a result that is a JSON document already."""
        print(document.rstrip("\n") if self.is_json else text)

    def note(self, text: str) -> None:
        """Tell something beside the result."""
        if not self.is_quiet:
            print(text, file=sys.stderr)


def as_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    """A table as text, as wide as the terminal, or as wide as it needs where there is none.

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
    console = open_console()
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").splitlines())


def open_console(*, is_error: bool = False) -> Console:
    """A console that takes text as it is: names of models are not markup."""
    from rich.console import Console

    stream = sys.stderr if is_error else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _WIDE,
        markup=False,
        highlight=False,
        emoji=False,
    )
