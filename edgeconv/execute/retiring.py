"""Ends the processes of lanes that no goal needs any more, while other goals still run: they hold a copy of the weights.

Of a large model a lane ends when no step that is to come needs it, whatever another route may need, which then starts it again.
The process that holds the captured model ends even where a verification needs its lane: beside the weights it keeps much of
what capturing took, and a new one starts small.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from edgeconv.execute.runner import Lane, Runner
from edgeconv.execute.verification import Verifier
from edgeconv.execute.work import lane_of
from edgeconv.plan.plan import Plan

__all__ = ["Retiring"]

_MODULE = "torch"


class Retiring:
    """Knows the lanes of the routes that goals follow; used by several threads.

    Args:
        runner: Has the lanes.
        verifiers: By format id.
        plans: The first route of each goal, by format id.
        model_lane: The lane whose process holds the model.
        is_large: Whether the model is so large that lanes end before all is done that may need them.
    """

    def __init__(
        self,
        runner: Runner,
        verifiers: Mapping[str, Verifier],
        plans: Mapping[str, Plan],
        *,
        model_lane: Lane,
        is_large: bool,
    ) -> None:
        self._runner = runner
        self._verifiers = verifiers
        self._is_large = is_large
        self._model_lane = model_lane
        self._guard = threading.Lock()
        self._needed = {goal: self._lanes(plan, 0) for goal, plan in plans.items()}
        self._users = {goal for goal, plan in plans.items() if self._uses_model(plan, 0)}

    def follow(self, plan: Plan) -> None:
        """A goal takes another route from now on."""
        with self._guard:
            self._needed[plan.goal] = self._lanes(plan, 0)
            if self._uses_model(plan, 0):
                self._users.add(plan.goal)

    def advance(self, plan: Plan, index: int) -> None:
        """A goal comes to the step `index` of its route, or to the verification after the last.

        Another route, where this one fails, would start the lanes again that end now.
        """
        with self._guard:
            if not self._uses_model(plan, index):
                self._users.discard(plan.goal)
            if self._is_large:
                before = self._needed.get(plan.goal, frozenset())
                self._needed[plan.goal] = self._lanes(plan, index)
                self._retire(before)

    def finish(self, goal: str) -> None:
        """A goal is done: what only it needed ends, unless all are done and everything ends anyway."""
        with self._guard:
            mine = self._needed.pop(goal, frozenset())
            self._users.discard(goal)
            if self._needed:
                self._retire(mine)

    def _retire(self, lanes: frozenset[Lane]) -> None:
        ended = lanes.difference(*self._needed.values())
        if self._is_large and not self._users:
            ended |= {self._model_lane}
        for lane in ended:
            self._runner.retire(lane)

    def _lanes(self, plan: Plan, index: int) -> frozenset[Lane]:
        """The lanes of a route from its step `index` on."""
        verifier = Lane(name=self._verifiers[plan.goal].lane)
        return frozenset({verifier, *(lane_of(spec) for spec in plan.steps[index:])})

    def _uses_model(self, plan: Plan, index: int) -> bool:
        """Whether a step from `index` on runs in the process that holds the model."""
        return any(
            spec.source == _MODULE or spec.takes_live or lane_of(spec) == self._model_lane
            for spec in plan.steps[index:]
        )
