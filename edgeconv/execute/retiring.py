"""Ends the processes of lanes that no goal needs any more, while other goals still run: they hold a copy of the weights.

The process that holds the captured model ends as soon as all formats are written, even where a verification needs its lane:
beside the weights it keeps much of what capturing took, and a new one starts small.
"""

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
        is_large: Whether the model is so large that a lane that is needed again only after another route failed ends.
        model_lane: The lane whose process holds the model; None where that process is small.
    """

    def __init__(
        self,
        runner: Runner,
        verifiers: Mapping[str, Verifier],
        plans: Mapping[str, Plan],
        *,
        is_large: bool,
        model_lane: Lane | None,
    ) -> None:
        self._runner = runner
        self._verifiers = verifiers
        self._is_large = is_large
        self._model_lane = model_lane
        self._guard = threading.Lock()
        self._needed = {goal: self._lanes(plan) for goal, plan in plans.items()}
        self._unwritten = {goal: _steps(plan) for goal, plan in plans.items()}

    def follow(self, plan: Plan) -> None:
        """A goal takes another route from now on."""
        with self._guard:
            self._needed[plan.goal] = self._lanes(plan)
            self._unwritten[plan.goal] = _steps(plan)

    def verify(self, goal: str) -> None:
        """Nothing is left of a goal's route but the verification; a route after it would start its lanes again."""
        with self._guard:
            self._unwritten.pop(goal, None)
            if self._is_large:
                before = self._needed.get(goal, frozenset())
                self._needed[goal] = frozenset({Lane(name=self._verifiers[goal].lane)})
                self._retire(before)
            self._give_up_model()

    def finish(self, goal: str) -> None:
        """A goal is done: what only it needed ends, unless all are done and everything ends anyway."""
        with self._guard:
            mine = self._needed.pop(goal, frozenset())
            self._unwritten.pop(goal, None)
            if self._needed:
                self._retire(mine)

    def _retire(self, lanes: frozenset[Lane]) -> None:
        for lane in lanes.difference(*self._needed.values()):
            self._runner.retire(lane)

    def _give_up_model(self) -> None:
        lane = self._model_lane
        if lane is not None and not any(lane in lanes for lanes in self._unwritten.values()):
            self._runner.retire(lane)

    def _lanes(self, plan: Plan) -> frozenset[Lane]:
        return _steps(plan) | {Lane(name=self._verifiers[plan.goal].lane)}


def _steps(plan: Plan) -> frozenset[Lane]:
    return frozenset(lane_of(spec) for spec in plan.steps)
