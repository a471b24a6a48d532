"""Ends the processes of lanes that no goal needs any more, while other goals still run: they hold a copy of the weights."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from edgeconv.execute.runner import Lane, Runner
from edgeconv.execute.verification import Verifier
from edgeconv.execute.work import lane_of
from edgeconv.plan.plan import Plan

__all__ = ["Retiring"]


class Retiring:
    """Knows the lanes of the routes that goals follow; used by several threads.

    Args:
        runner: Has the lanes.
        verifiers: By format id.
        plans: The first route of each goal, by format id.
    """

    def __init__(
        self, runner: Runner, verifiers: Mapping[str, Verifier], plans: Mapping[str, Plan]
    ) -> None:
        self._runner = runner
        self._verifiers = verifiers
        self._guard = threading.Lock()
        self._needed = {goal: self._lanes(plan) for goal, plan in plans.items()}

    def follow(self, plan: Plan) -> None:
        """A goal takes another route from now on."""
        with self._guard:
            self._needed[plan.goal] = self._lanes(plan)

    def verify(self, goal: str) -> None:
        """Nothing is left of a goal's route but the verification; a route after it would start its lanes again."""
        with self._guard:
            before = self._needed.get(goal, frozenset())
            self._needed[goal] = frozenset({Lane(name=self._verifiers[goal].lane)})
            self._retire(before)

    def finish(self, goal: str) -> None:
        """A goal is done: what only it needed ends, unless all are done and everything ends anyway."""
        with self._guard:
            mine = self._needed.pop(goal, frozenset())
            if self._needed:
                self._retire(mine)

    def _retire(self, lanes: frozenset[Lane]) -> None:
        for lane in lanes.difference(*self._needed.values()):
            self._runner.retire(lane)

    def _lanes(self, plan: Plan) -> frozenset[Lane]:
        lanes = {lane_of(spec) for spec in plan.steps}
        return frozenset({*lanes, Lane(name=self._verifiers[plan.goal].lane)})
