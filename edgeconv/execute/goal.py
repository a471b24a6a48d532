"""One format that was asked for: tries routes, best first, until one delivers a verified artifact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.errors import (
    ConversionError,
    EdgeconvError,
    FailureKind,
    MissingDependencyError,
    NoRouteError,
    OutputError,
    ValidationError,
)
from edgeconv.execute.contest import Entrant, compare
from edgeconv.execute.delivery import OutputFolder
from edgeconv.execute.records import Attempt, Criterion, GoalOutcome
from edgeconv.execute.route import Made, RouteLostError, Shared, describe, follow
from edgeconv.formats import find_format
from edgeconv.plan.plan import Plan, Search
from edgeconv.plan.planner import Planner
from edgeconv.plugin.job import Json

__all__ = ["Goal"]

# Of a process that ended, the details are what it printed last.
_SHOWN_DETAILS = {
    FailureKind.UNSUPPORTED_OPS: 20,
    FailureKind.INVALID_INPUT: 5,
    FailureKind.INTERNAL: 5,
}
# More than there are: a route that failed takes its converter out.
_MOST_ROUTES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A route that failed, and why."""

    attempt: Attempt
    error: EdgeconvError


class Goal:
    """One format.

    Args:
        format_id: The format.
        search: What restricts its routes.
        planner: Finds them.
        shared: What all goals of the run have in common.
        output: Where the artifact goes.
    """

    def __init__(
        self,
        format_id: str,
        search: Search,
        *,
        planner: Planner,
        shared: Shared,
        output: OutputFolder,
    ) -> None:
        self._format = find_format(format_id)
        self._search = search
        self._planner = planner
        self._shared = shared
        self._output = output
        self._file = f"{shared.request.name}{self._format.suffix}"
        self._failed: list[_Failed] = []
        self._tried: set[tuple[str, ...]] = set()
        self._entrants: list[Entrant] = []
        self._rejected_attempt: Attempt | None = None
        self._rejected_path: Path | None = None

    def pursue(self) -> GoalOutcome | None:
        """Try routes until one delivers, or none is left.

        Returns:
            What became of it; None where the best of several artifacts is wanted: see `choose`.
        """
        self._shared.steps.gate.join()
        self._output.forget_reproduction(self._file)
        try:
            while True:
                plan = self._next_plan()
                if isinstance(plan, EdgeconvError) and self._entrants:
                    return None
                if isinstance(plan, EdgeconvError):
                    self._note_losses_elsewhere()
                    return self._finish(error=self._final_error(plan))
                self._shared.retiring.follow(plan)
                outcome = self._try(plan)
                if outcome:
                    return outcome
                self._tried.add(plan.route)
        finally:
            self._shared.retiring.finish(self._format.id)
            self._shared.steps.gate.arrive()

    def choose(self, best: Criterion) -> GoalOutcome:
        """Deliver the best of what all routes made; nothing else may run meanwhile, since it is measured."""
        candidates = compare(self._entrants, best, self._format.id, self._shared)
        winner = next(e for e, c in zip(self._entrants, candidates, strict=True) if c.is_chosen)
        others = [
            Attempt(route=each.plan.route, result="verified", verdict=each.made.verdict)
            for each in self._entrants
            if each is not winner
        ]
        try:
            outcome = self._deliver(winner.plan, winner.made)
        except OutputError as error:
            outcome = self._fail_to_write(winner.plan, error)
        return replace(outcome, attempts=(*others, *outcome.attempts), candidates=tuple(candidates))

    def _next_plan(self) -> Plan | EdgeconvError:
        search = replace(self._search, lost=self._shared.losses.all())
        source = self._shared.request.source_format
        routes = self._planner.routes(source, self._format.id, search, count=_MOST_ROUTES)
        plan = next((plan for plan in routes if plan.route not in self._tried), None)
        return plan or self._planner.no_route(source, self._format.id, search)

    def _try(self, plan: Plan) -> GoalOutcome | None:
        """Follow one route; None if it failed and another may do."""
        try:
            made = follow(plan, self._shared)
            self._shared.steps.gate.arrive()
            self._shared.steps.check_going_on()
            if self._shared.request.best:
                self._entrants.append(Entrant(plan=plan, made=made))
                return None
            return self._deliver(plan, made)
        except RouteLostError as lost:
            self._note(plan, lost)
            return None
        except OutputError as error:
            return self._fail_to_write(plan, error)

    def _fail_to_write(self, plan: Plan, error: OutputError) -> GoalOutcome:
        attempt = Attempt(route=plan.route, result="failed", reason=describe(error), error=error)
        self._failed.append(_Failed(attempt=attempt, error=error))
        return self._finish(error=error)

    def _note_losses_elsewhere(self) -> None:
        """Remember routes that were out before this format came to them: the step failed for another format."""
        source, losses = self._shared.request.source_format, self._shared.losses
        plans = self._planner.routes(source, self._format.id, self._search, count=_MOST_ROUTES)
        for plan in plans:
            errors = (losses.error(converter) for converter in plan.route)
            error = next((found for found in errors if found is not None), None)
            if error is None or str(error) in {str(item.error) for item in self._failed}:
                continue
            attempt = Attempt(
                route=plan.route, result="failed", reason=describe(error), error=error
            )
            self._failed.append(_Failed(attempt=attempt, error=error))

    def _deliver(self, plan: Plan, made: Made) -> GoalOutcome:
        path = self._output.deliver(made.material.path, self._file, self._format)
        if self._rejected_attempt is None:
            self._output.forget_rejected(self._file)
        artifact = Artifact(
            name=self._shared.request.name,
            format=self._format.id,
            path=path,
            digest=made.material.digest,
            signature=self._shared.captured.signature,
            metadata=self._shared.metadata,
            parents=(made.parent.digest,),
        )
        attempt = Attempt(route=plan.route, result="delivered", verdict=made.verdict)
        return self._finish(attempt, artifact=artifact)

    def _note(self, plan: Plan, lost: RouteLostError) -> None:
        """Remember a route that failed; what it made is kept if verification is what failed."""
        attempt = Attempt(
            route=plan.route,
            result="rejected" if lost.rejected else "failed",
            reason=describe(lost.error),
            verdict=lost.verdict,
            error=lost.error,
        )
        self._failed.append(_Failed(attempt=attempt, error=lost.error))
        if lost.rejected is None:
            return
        self._rejected_attempt = attempt
        reason: dict[str, Json] = {
            "format": self._format.id,
            "route": list(plan.route),
            "reason": attempt.reason,
            "verdict": lost.verdict.to_json() if lost.verdict else None,
        }
        self._rejected_path = self._output.reject(lost.rejected.path, self._file, reason)

    def _finish(
        self,
        delivered: Attempt | None = None,
        *,
        artifact: Artifact | None = None,
        error: EdgeconvError | None = None,
    ) -> GoalOutcome:
        attempts = [item.attempt for item in self._failed]
        last = delivered or self._rejected_attempt
        return GoalOutcome(
            format=self._format.id,
            attempts=(*attempts, delivered) if delivered else tuple(attempts),
            artifact=artifact,
            verdict=last.verdict if last else None,
            rejected_path=self._rejected_path,
            error=error,
        )

    def _final_error(self, no_route: EdgeconvError) -> EdgeconvError:
        """The error of a goal that has no route left.

        Args:
            no_route: What planning says now.
        """
        refused = self._shared.captured.export_error
        if not self._failed:
            # Without a program most formats are out of reach: why there is none is what the user must know.
            return refused if refused and isinstance(no_route, NoRouteError) else no_route
        errors = [item.error for item in self._failed]
        if any(item.attempt.result == "rejected" for item in self._failed):
            kept = f"it is kept with the verdict: '{self._rejected_path}'"
            what = "was made, but does not compute what the model computes"
            return self._summarize(ValidationError, what, hint=kept if self._rejected_path else "")
        if all(error.failure_kind is FailureKind.MISSING_TOOL for error in errors):
            return self._summarize(MissingDependencyError, "needs tools that are not installed")
        if len(errors) == 1 and isinstance(errors[0], ConversionError):
            return errors[0]
        hint = no_route.hint if isinstance(no_route, MissingDependencyError) else ""
        return self._summarize(ConversionError, "was not made: every route failed", hint=hint)

    def _summarize(
        self, error_class: type[EdgeconvError], what: str, *, hint: str = ""
    ) -> EdgeconvError:
        first, *others = self._failed
        return error_class(
            f"'{self._format.id}' {what}",
            why="see each route" if others else describe(first.error),
            hint=hint or next((item.error.hint for item in self._failed if item.error.hint), ""),
            details=[line for item in self._failed for line in _lines(item)]
            if others
            else first.error.details,
        )


def _lines(failed: _Failed) -> list[str]:
    """A line for the route, and one for each operator or place that its error names."""
    route = " → ".join(failed.attempt.route)
    most = _SHOWN_DETAILS.get(failed.error.failure_kind, 0)
    shown = [f"    {line}" for line in failed.error.details[:most]]
    return [f"{route}: {failed.attempt.reason}", *shown]
