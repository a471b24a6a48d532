"""Finds, for each format that failed, the smallest part of the model that fails in the same way, and keeps it."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.diagnosis.failure import reducible
from edgeconv.diagnosis.search import Found, Operators, Search
from edgeconv.diagnosis.trial import Bench, Clock
from edgeconv.errors import error_from_json
from edgeconv.execute.delivery import OutputFolder
from edgeconv.execute.diagnosing import Subject
from edgeconv.execute.records import Attempt, GoalOutcome, Step
from edgeconv.execute.runner import Runner
from edgeconv.execute.verification import Verifier
from edgeconv.formats import find_format
from edgeconv.plugin.job import Json
from edgeconv.plugin.registry import Registry
from edgeconv.store import module_versions
from edgeconv.version import edgeconv_version

__all__ = ["Diagnosis"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the executor calls when formats failed.

    Attributes:
        seconds: For all formats together.
        registry: The converters there are.
        runner: Worker processes to try parts in.
        verifiers: By format id.
    """

    seconds: float
    registry: Registry
    runner: Runner
    verifiers: Mapping[str, Verifier]

    def __call__(
        self, goals: Mapping[str, GoalOutcome], subject: Subject, output: OutputFolder
    ) -> dict[str, GoalOutcome]:
        """The goals that failed, with the folder for a bug report where one could be made."""
        clock = Clock(self.seconds)
        bench = Bench(
            request=subject.steps.request,
            registry=self.registry,
            runner=self.runner,
            verifiers=self.verifiers,
            clock=clock,
        )
        known: dict[str, tuple[Path, str] | None] = {}
        changed: dict[str, GoalOutcome] = {}
        for goal in goals.values():
            attempt = reducible(goal) if goal.error else None
            if attempt is None:
                continue
            # Formats that were lost by the same step share what is found.
            key = f"{attempt.result}: {attempt.error}"
            if key not in known and clock.left_seconds:
                known[key] = self._diagnose(goal.format, attempt, subject, bench, output)
            if found := known.get(key):
                changed[goal.format] = _with_reproduction(goal, *found)
        return changed

    def _diagnose(
        self, goal: str, attempt: Attempt, subject: Subject, bench: Bench, output: OutputFolder
    ) -> tuple[Path, str] | None:
        """Search, and keep what was found; its folder, and how large it is."""
        steps = subject.steps
        search = Search(
            attempt=attempt,
            goal=goal,
            live=subject.live,
            bench=bench,
            lane=subject.lane,
            folder=steps.new_folder("diagnosis"),
        )
        step = Step(
            id=f"diagnose/{goal}",
            kind="diagnose",
            converter=attempt.route[-1],
            source="torch-export",
            target=goal,
        )
        with steps.recorded(step) as aside:
            operators = search.describe()
            found = self._find(search, operators, is_dynamic=subject.is_dynamic)
            details: dict[str, Json] = {"trials": search.trials, "of": len(operators.names)}
            aside.details = details
            if found is not None:
                details["operators"] = len(found.operators)
                return self._keep(search, operators, found, output)
        return None

    def _find(self, search: Search, operators: Operators, *, is_dynamic: bool) -> Found | None:
        """At the sizes of the example first: such a part is the simplest."""
        found = search.run(operators, is_whole=False)
        if found is None and is_dynamic:
            found = search.run(operators, is_whole=True)
        return found

    def _keep(
        self, search: Search, operators: Operators, found: Found, output: OutputFolder
    ) -> tuple[Path, str] | None:
        told = tuple(operators.tell(index) for index in found.operators)
        reproduction = search.reproduction(
            told, len(operators.names), self._versions(search.attempt)
        )
        reproduction.write_script(found.folder, found.error)
        tool, is_bare = search.put_bare_call(reproduction, found)
        reproduction.write_facts(found.folder, found.error, tool=tool, is_bare=is_bare)
        suffix = find_format(search.goal).suffix
        path = output.keep_reproduction(found.folder, f"{search.bench.request.name}{suffix}")
        return None if path is None else (path, reproduction.size)

    def _versions(self, attempt: Attempt) -> dict[str, str]:
        modules = {name for step in attempt.route for name in self.registry.find(step).requires}
        tools = {name: str(value) for name, value in module_versions(modules).items()}
        host = {"edgeconv": edgeconv_version(), "Python": platform.python_version()}
        return {**host, **tools, platform.system(): f"{platform.release()} {platform.machine()}"}


def _with_reproduction(goal: GoalOutcome, path: Path, size: str) -> GoalOutcome:
    if goal.error is None:
        return goal
    line = f"the smallest part of the model that fails so ({size}), with a script: '{path}'"
    data = goal.error.to_json()
    details = [*goal.error.details, line]
    return replace(goal, reproduction=path, error=error_from_json({**data, "details": details}))
