"""Runs a conversion from the model to the delivered artifacts: capture first, then all goals side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgeconv.errors import (
    EdgeconvError,
    InternalError,
    MissingDependencyError,
    NoRouteError,
    UsageError,
)
from edgeconv.execute.capture import Capture, capture
from edgeconv.execute.delivery import OutputFolder
from edgeconv.execute.diagnosing import Diagnose, Subject
from edgeconv.execute.gate import Gate
from edgeconv.execute.goal import Goal
from edgeconv.execute.losses import Losses, Once
from edgeconv.execute.memory import MemoryMeter
from edgeconv.execute.observation import observe
from edgeconv.execute.records import GoalOutcome, Listener, Outcome
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.retiring import Retiring
from edgeconv.execute.route import Shared, describe
from edgeconv.execute.runner import Lane, Runner
from edgeconv.execute.steps import Steps
from edgeconv.execute.verification import VERIFIERS, Verifier
from edgeconv.execute.warming import Warming
from edgeconv.execute.work import lane_of
from edgeconv.execute.workspace import Workspace
from edgeconv.formats import FORMATS, Format, find_format
from edgeconv.plan.plan import Plan, Search
from edgeconv.plan.planner import Planner
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.registry import Registry, is_installed, missing_dependency, missing_modules
from edgeconv.store import Store
from edgeconv.version import edgeconv_version

__all__ = ["check_name", "convert"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
# Names of files end at 255 bytes; suffixes, and names that are written aside, need room as well.
_LONGEST_NAME = 128
# From here on what processes hold of the model is worth more than the time to capture it again for another route, than the
# second that a new process takes to import PyTorch, and than what is gained by another framework at work beside PyTorch.
_MANY_PARAMETERS = 20_000_000
_MUCH_MEMORY = 700_000_000
# What writes without a framework; its process is small.
_LIGHT = Lane(name="light")
_SOURCE, _CAPTURED = "torch", "torch-export"


def convert(
    request: ConversionRequest,
    *,
    registry: Registry,
    runner: Runner,
    store: Store,
    listener: Listener,
    scratch: Path,
    verifiers: Mapping[str, Verifier] = VERIFIERS,
    diagnose: Diagnose | None = None,
) -> Outcome:
    """Capture a model, convert it to each goal, verify and deliver the artifacts.

    Goals that fail do not stop the others; their errors are in the outcome.

    Args:
        request: What to do.
        registry: The converters there are.
        runner: Where steps run; it is closed when the run is interrupted.
        store: Results of earlier runs.
        listener: Hears of steps as they happen.
        scratch: Holds the folder this run works in.
        verifiers: How each format is verified.
        diagnose: Looks into failures of formats once all were tried; nobody does unless given.

    Raises:
        UsageError: An unknown format, converter, or a name that no file can have.
        OutputError: The output folder or `scratch` cannot be written, or the folder holds something else where an
            artifact belongs; nothing was done.
        KeyboardInterrupt: The run was interrupted; what was delivered by then is whole.
    """
    run = _Run(request, registry=registry, verifiers=verifiers)
    output = OutputFolder(request.out)
    output.prepare(run.artifacts)
    try:
        with MemoryMeter() as meter, Workspace(scratch) as workspace:
            steps = Steps(
                request,
                runner=runner,
                store=store,
                listener=listener,
                workspace=workspace,
                gate=Gate(request.jobs or len(os.sched_getaffinity(0))),
            )
            goals, captured = run.execute(steps, output, diagnose)
    finally:
        output.tidy()
        store.close()
    return Outcome(
        name=request.name,
        source=request.source,
        source_digest=captured.source_digest if captured else "",
        signature=captured.signature if captured else None,
        parameters=captured.parameters if captured else None,
        goals=goals,
        steps=steps.records,
        seconds=steps.seconds,
        peak_memory_bytes=meter.peak_bytes,
        seed=request.seed,
        warnings=store.take_warnings(),
    )


class _Run:
    """One run, checked.

    Args:
        request: What to do.
        registry: The converters there are.
        verifiers: How each format is verified.

    Raises:
        UsageError: The request means nothing.
    """

    def __init__(
        self,
        request: ConversionRequest,
        *,
        registry: Registry,
        verifiers: Mapping[str, Verifier],
    ) -> None:
        self._request = request
        self._verifiers = verifiers
        self._planner = Planner(registry.converters)
        check_name(request.name)
        self._searches = self._search_goals()
        self._capturing: ConverterSpec | None = None
        self._lane = Lane(name="")
        if request.source_format == _SOURCE:
            self._capturing = _capture_spec(registry.converters)
            if self._capturing:
                self._lane = lane_of(self._capturing)
        elif request.source_format in verifiers:
            self._lane = Lane(name=verifiers[request.source_format].lane)

    @property
    def artifacts(self) -> dict[str, Format]:
        """The format of each artifact that may be delivered, by its name."""
        found = (find_format(goal) for goal in self._searches)
        return {f"{self._request.name}{known.suffix}": known for known in found}

    def execute(
        self, steps: Steps, output: OutputFolder, diagnose: Diagnose | None
    ) -> tuple[tuple[GoalOutcome, ...], Capture | None]:
        """Capture, then pursue all goals; what cannot succeed is found out before anything runs."""
        outcomes: dict[str, GoalOutcome] = {}
        plans: dict[str, Plan] = {}
        for goal, search in self._searches.items():
            try:
                plans[goal] = self._plan(goal, search)
            except (NoRouteError, MissingDependencyError) as error:
                outcomes[goal] = GoalOutcome(format=goal, attempts=(), error=error)
        captured: Capture | EdgeconvError | None = None
        try:
            if plans:
                warming = Warming(steps.runner, self._verifiers)
                captured = self._capture(steps, plans, warming)
            if isinstance(captured, Capture):
                outcomes |= self._pursue(plans, captured, steps, warming, output)
                outcomes |= self._look_into(outcomes, captured, steps, output, diagnose)
        except BaseException:
            steps.stop()
            raise
        if isinstance(captured, EdgeconvError):
            failed = {g: GoalOutcome(format=g, attempts=(), error=captured) for g in plans}
            return tuple({**outcomes, **failed}[goal] for goal in self._searches), None
        return tuple(outcomes[goal] for goal in self._searches), captured

    def _search_goals(self) -> dict[str, Search]:
        request = self._request
        goals = dict.fromkeys(request.goals)
        if not goals:
            raise UsageError("no format was asked for", hint="name formats with --to")
        for goal in goals:
            if not find_format(goal).is_delivered or goal not in self._verifiers:
                possible = [item.id for item in FORMATS if item.is_delivered]
                raise UsageError(
                    f"'{goal}' cannot be asked for",
                    why="nothing of this format can be delivered",
                    hint="use one of: " + ", ".join(possible),
                )
            if goal == request.source_format:
                raise UsageError(
                    f"'{request.source}' is in the format '{goal}' already",
                    hint="name another format with --to",
                )
        search = Search(via=request.via, avoid=request.avoid, environments=request.environments)
        return self._planner.restrict(request.source_format, goals, search)

    def _plan(self, goal: str, search: Search) -> Plan:
        """The best route to a goal, if all that is needed besides is installed as well."""
        source = self._request.source_format
        plan = self._planner.best(source, goal, search)
        if source != _SOURCE:
            _check_runtime(f"running '{source}'", self._verifiers[source])
        elif self._capturing is None:
            raise self._planner.no_route(_SOURCE, _CAPTURED, Search())
        _check_runtime(f"verifying '{goal}'", self._verifiers[goal])
        return plan

    def _capture(
        self, steps: Steps, plans: Mapping[str, Plan], warming: Warming
    ) -> Capture | EdgeconvError:
        def warm() -> None:
            if warming.claim(self._lane):
                steps.runner.warm(self._lane, ())  # everyone waits for it: it starts first
            for plan in plans.values():
                warming.prepare(plan, 0)

        try:
            if self._capturing is not None:
                spec = self._capturing
                return capture(
                    spec,
                    self._request,
                    steps,
                    version=edgeconv_version(),
                    needs_file=any(_reads_program_file(plan, spec.id) for plan in plans.values()),
                    on_miss=warm,
                )
            verifier = self._verifiers[self._request.source_format]
            return observe(self._request, verifier, steps, on_miss=warm)
        except EdgeconvError as error:
            return error

    def _pursue(
        self,
        plans: Mapping[str, Plan],
        captured: Capture,
        steps: Steps,
        warming: Warming,
        output: OutputFolder,
    ) -> dict[str, GoalOutcome]:
        if _is_large(captured):
            steps.gate.convert_alone(self._lane, beside=_LIGHT)
        shared = self._share(captured, steps, warming, plans)
        goals = {
            goal: Goal(
                goal,
                self._searches[goal],
                planner=self._planner,
                shared=shared,
                output=output,
            )
            for goal in plans
        }
        steps.gate.expect(len(goals))
        with ThreadPoolExecutor(len(goals), thread_name_prefix="goal") as threads:
            try:
                futures = {name: threads.submit(goal.pursue) for name, goal in goals.items()}
                ended = {name: future.result() for name, future in futures.items()}
                return {name: done or self._choose(goals[name]) for name, done in ended.items()}
            except BaseException:
                steps.stop()  # before the threads are waited for
                raise

    def _choose(self, goal: Goal) -> GoalOutcome:
        """Measured one after the other, when all steps are done."""
        if self._request.best is None:
            raise InternalError(
                "a format has no outcome", why="its best artifact was not asked for"
            )
        return goal.choose(self._request.best)

    def _look_into(
        self,
        goals: Mapping[str, GoalOutcome],
        captured: Capture,
        steps: Steps,
        output: OutputFolder,
        diagnose: Diagnose | None,
    ) -> Mapping[str, GoalOutcome]:
        """What can be found out about formats that failed; without a program there is nothing to look into."""
        has_failed = any(goal.error and goal.attempts for goal in goals.values())
        live = captured.live
        if diagnose is None or captured.program is None or live is None or not has_failed:
            return {}
        subject = Subject(
            live=live,
            is_dynamic=bool(captured.signature.dims),
            lane=self._lane,
            steps=steps,
        )
        return diagnose(goals, subject, output)

    def _share(
        self, captured: Capture, steps: Steps, warming: Warming, plans: Mapping[str, Plan]
    ) -> Shared:
        spec, request = self._capturing, self._request
        return Shared(
            request=request,
            steps=steps,
            captured=captured,
            capture_id=spec.id if spec else "",
            capture_lane=self._lane,
            losses=self._lost_with(captured),
            results=Once(),
            verifiers=self._verifiers,
            metadata={
                **request.metadata,
                "edgeconv_version": edgeconv_version(),
                "source_digest": captured.source_digest,
            },
            warm=warming.prepare,
            retiring=Retiring(
                steps.runner,
                self._verifiers,
                plans,
                model_lane=self._lane,
                # Where all routes are tried, the next one needs what the first one had.
                is_large=_is_large(captured) and request.best is None,
            ),
        )

    def _lost_with(self, captured: Capture) -> Losses:
        """Without a program, nothing leads to or from it."""
        losses = Losses()
        if self._capturing is not None and captured.program is None:
            refused = captured.export_error
            reason = describe(refused) if refused else "the capture step left no program"
            for spec in self._planner.converters:
                if _CAPTURED in (spec.source, spec.target):
                    losses.add(spec.id, reason)
        return losses


def _is_large(captured: Capture) -> bool:
    """Whether the model, or what capturing it took, is so large that processes must not hold it for longer than needed."""
    return (
        captured.parameters or 0
    ) > _MANY_PARAMETERS or captured.peak_memory_bytes > _MUCH_MEMORY


def _reads_program_file(plan: Plan, capture_id: str) -> bool:
    """Whether a route delivers the captured program, or reads it from its file."""
    if not plan.steps or plan.steps[0].id != capture_id:
        return False
    return len(plan.steps) == 1 or not plan.steps[1].takes_live


def _check_runtime(purpose: str, verifier: Verifier) -> None:
    missing = [name for name in verifier.requires if not is_installed(name)]
    if missing:
        raise missing_dependency(purpose, missing, [verifier.extra])


def check_name(name: str) -> None:
    """Refuse a name that cannot name files on all systems.

    Raises:
        UsageError: It cannot.
    """
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"'{name[:20]}…' cannot name files",
            why=f"it has {len(name)} characters, and {_LONGEST_NAME} are the most that all systems take",
            hint="give a shorter name with --name",
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot name files",
            why="it has characters that some system or format refuses",
            hint="use letters, digits, '_', '-', '.' and '+' with --name",
        )


def _capture_spec(converters: Iterable[ConverterSpec]) -> ConverterSpec | None:
    """The best converter that captures; `--avoid` speaks of routes, and every route needs the capture."""
    found = [
        spec
        for spec in converters
        if (spec.kind, spec.source, spec.target) == ("convert", _SOURCE, _CAPTURED)
        and not missing_modules(spec)
    ]
    return min(found, key=lambda spec: (spec.cost, spec.id), default=None)
