"""Turns signals that ask the program to end into an orderly end: workers gone, nothing half-written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["TerminatedError", "exit_status", "interruptible"]


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived; passes through everything that lets Ctrl-C pass."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP raise `TerminatedError` in the main thread, as SIGINT raises KeyboardInterrupt.

    Enter it in the main thread.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _raise) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_status(error: KeyboardInterrupt) -> int:
    """What the program ends with: 128 and the signal's number, as shells do; 130 for Ctrl-C."""
    number = error.number if isinstance(error, TerminatedError) else signal.SIGINT
    return 128 + number


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the handler's signature
    raise TerminatedError(number)
