"""Makes lanes ready that will be needed, while earlier steps still run, and no others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from edgeconv.execute.runner import Lane, Runner
from edgeconv.execute.verification import Verifier
from edgeconv.execute.work import lane_of
from edgeconv.plan.plan import Plan

__all__ = ["Warming"]


class Warming:
    """Starts lanes ahead of their first step; used by several threads.

    Args:
        runner: Has the lanes.
        verifiers: By format id.
    """

    def __init__(self, runner: Runner, verifiers: Mapping[str, Verifier]) -> None:
        self._runner = runner
        self._verifiers = verifiers
        self._guard = threading.Lock()
        self._known: set[Lane] = set()

    def prepare(self, plan: Plan, index: int) -> None:
        """Warm what a route needs after its step `index`, which runs now.

        Only the first step of a lane is prepared for: importing more would hold up that step.
        """
        self.claim(lane_of(plan.steps[index]))
        for lane, modules in self._needs(plan, index + 1):
            if self.claim(lane):
                self._runner.warm(lane, modules)

    def _needs(self, plan: Plan, first: int) -> Iterator[tuple[Lane, tuple[str, ...]]]:
        for spec in plan.steps[first:]:
            yield lane_of(spec), spec.warm
        verifier = self._verifiers[plan.goal]
        yield Lane(name=verifier.lane), verifier.warm

    def claim(self, lane: Lane) -> bool:
        """Take a lane as being in use; False if it was before."""
        with self._guard:
            is_new = lane not in self._known
            self._known.add(lane)
            return is_new
