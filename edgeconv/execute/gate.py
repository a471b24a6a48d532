"""Decides which of the steps that are ready goes next: few at once, one per lane, the most urgent first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgeconv.execute.runner import Lane

__all__ = ["Gate"]


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    priority: tuple[bool, float]
    rank: int
    lane: Lane

    @property
    def is_conversion(self) -> bool:
        return not self.priority[0]


class Gate:
    """Lets steps in.

    Args:
        jobs: Steps let in at once.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._missing = 0
        self._is_given_up = False
        self._here = threading.local()
        self._waiting: list[_Waiting] = []
        self._running: dict[Lane, _Waiting] = {}
        self._count = 0
        self._alone: Lane | None = None
        self._beside: Lane | None = None
        self._changed = threading.Condition()

    def expect(self, count: int) -> None:
        """Let nobody in before so many have joined and come for the first time, or are done.

        So the first in a lane is the shortest, and not the fastest to ask.
        """
        with self._changed:
            self._missing = count

    def convert_alone(self, lane: Lane, *, beside: Lane) -> None:
        """From now on, let nothing work beside a conversion of a lane: together they would hold too much memory.

        Args:
            lane: The lane.
            beside: Whose conversions may go beside all the same.
        """
        with self._changed:
            self._alone, self._beside = lane, beside

    def give_up(self) -> None:
        """Let everybody in at once, now and later: the run is ending, and whoever comes in finds that out.

        Those who were expected may never come, and who waits for them would wait for ever.
        """
        with self._changed:
            self._is_given_up = True
            self._changed.notify_all()

    def join(self) -> None:
        """Say that this thread is one of those expected."""
        self._here.is_expected = True

    def arrive(self) -> None:
        """Say that this thread waits for something else, or is done: nobody need wait for it."""
        with self._changed:
            self._note_arrival()

    @contextmanager
    def turn(self, lane: Lane, priority: tuple[bool, float]) -> Iterator[None]:
        """Wait until it is this step's turn; it lasts as long as the context.

        Args:
            lane: Where the step runs.
            priority: The smallest of those that wait goes first.
        """
        self._enter(lane, priority)
        try:
            yield
        finally:
            with self._changed:
                self._running.pop(lane, None)
                self._changed.notify_all()

    def _enter(self, lane: Lane, priority: tuple[bool, float]) -> None:
        with self._changed:
            self._count += 1
            me = _Waiting(priority, self._count, lane)
            self._waiting.append(me)
            self._note_arrival()
            self._changed.wait_for(lambda: self._is_next(me))
            self._waiting.remove(me)
            self._running[lane] = me
            self._changed.notify_all()

    def _is_next(self, me: _Waiting) -> bool:
        if self._is_given_up:
            return True
        if self._missing > 0 or len(self._running) >= self._jobs or not self._is_able(me):
            return False
        return min(other for other in self._waiting if self._is_able(other)) == me

    def _is_able(self, me: _Waiting) -> bool:
        """Whether nothing that runs keeps this one out."""
        running = self._running.values()
        return not any(self._clash(me, each) or self._clash(each, me) for each in running)

    def _clash(self, one: _Waiting, other: _Waiting) -> bool:
        """Whether `one` keeps `other` out."""
        if one.lane == other.lane:
            return True
        is_alone = one.is_conversion and one.lane == self._alone
        return is_alone and not (other.is_conversion and other.lane == self._beside)

    def _note_arrival(self) -> None:
        if getattr(self._here, "is_expected", False):
            self._here.is_expected = False
            self._missing -= 1
            self._changed.notify_all()
