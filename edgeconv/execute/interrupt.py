"""Turns signals that ask the program to end into an orderly end: workers gone, nothing half-written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Interruption", "TerminatedError", "exit_status", "interruptible"]


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived; passes through everything that lets Ctrl-C pass."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """Remembers which signal arrived, for where somebody else has swallowed what it raised."""

    def __init__(self) -> None:
        self._number: int | None = None

    def resume(self) -> NoReturn:
        """Raise again what the last signal raised; that of Ctrl-C where none was heard of."""
        raise KeyboardInterrupt if self._number is None else TerminatedError(self._number)

    def arrive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the handler's signature
        """Take a signal.

        Raises:
            TerminatedError: Always.
        """
        self._number = number
        raise TerminatedError(number)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """While entered, SIGTERM and SIGHUP raise `TerminatedError` in the main thread, as SIGINT raises KeyboardInterrupt.

    Enter it in the main thread.
    """
    interruption = Interruption()
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interruption.arrive) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_status(error: KeyboardInterrupt) -> int:
    """What the program ends with: 128 and the signal's number, as shells do; 130 for Ctrl-C."""
    number = error.number if isinstance(error, TerminatedError) else signal.SIGINT
    return 128 + number
