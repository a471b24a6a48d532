"""Commands that end badly, to be put in the place of real ones."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated

import typer

from edgeconv.cli.options import AsJson, Quiet, Verbose
from edgeconv.errors import EdgeconvError, error_classes


def fail(
    code: str, *, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Raise the error with this code."""
    found = next(cls for cls in error_classes(EdgeconvError) if cls.code == code)
    raise found("'x' failed", why="it was told to", hint="tell it otherwise", details=["a", "b"])


def stumble(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Have a bug."""
    raise ZeroDivisionError("the seventh divisor")


def wait(
    name: str, *, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Send a signal to this very process, and wait for it."""
    os.kill(os.getpid(), signal.Signals[name])
    time.sleep(60)


def _send(name: str) -> str:
    os.kill(os.getpid(), signal.Signals[name])
    return name


def parse(
    name: Annotated[str, typer.Argument(callback=_send)],
    *,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Send a signal while the command line is still read."""


def chatter(*, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Print more than a pipe holds."""
    for _ in range(100_000):
        sys.stdout.write("a line that nobody reads\n")
