"""One conversion from typed options to a written report: what the command line and the API both call.

It brings the parts together: the converters that are installed, the store, the worker processes, the executor,
and the report, which is written into the output folder beside the artifacts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.artifact import measure_size
from edgeconv.data import check_data
from edgeconv.errors import (
    EdgeconvError,
    InvalidInputError,
    OutputError,
    UnsafeInputError,
    UsageError,
)
from edgeconv.execute.delivery import OutputFolder
from edgeconv.execute.diagnosing import Diagnose, Subject
from edgeconv.execute.executor import convert
from edgeconv.execute.in_process import LaneRouter
from edgeconv.execute.ownership import is_ours
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.records import (
    GoalOutcome,
    Listener,
    Outcome,
    Step,
    StepRecord,
)
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Runner
from edgeconv.execute.verification import VERIFIERS, Verifier
from edgeconv.formats import detect, find_format
from edgeconv.options import (
    DEFAULT_GOALS,
    DIAGNOSIS_SECONDS,
    ConversionOptions,
    as_criterion,
    check_diagnosis,
    check_numbers,
)
from edgeconv.plan.explain import ignored_via
from edgeconv.plan.plan import Plan, Rejected, Search
from edgeconv.plan.planner import Planner
from edgeconv.plugin.job import Json
from edgeconv.plugin.registry import Registry
from edgeconv.settings import Settings, load_settings
from edgeconv.signature import Layout
from edgeconv.source import ModelSource, parse_inputs, parse_model
from edgeconv.store import Store
from edgeconv.validation.verdict import Verdict
from edgeconv.version import edgeconv_version

if TYPE_CHECKING:
    from edgeconv.report.model import Report

__all__ = [
    "DEFAULT_GOALS",
    "DIAGNOSIS_SECONDS",
    "Conversion",
    "ConversionOptions",
    "as_criterion",
    "capture_options",
    "check_diagnosis",
    "check_numbers",
    "default_name",
    "make_request",
    "parse_layout",
    "run_conversion",
    "run_request",
    "source_format",
]

_SOURCE = "torch"
# What PyTorch can load again is captured like a module.
_CAPTURED = ("torch-export", "torchscript")
_SHOWN_ROUTES = 5
# Names that say nothing of the model.
_ANY_FACTORY = frozenset(
    f"{verb}{what}"
    for verb in ("build", "create", "get", "load", "make", "new")
    for what in ("", "_model", "_net", "_network")
) | {"factory", "main", "model", "net"}
_ANY_FILE = frozenset(("", "factory", "init", "main", "model", "models"))
_LAYOUTS = (Layout.NCHW.value, Layout.NHWC.value)
_MAX_LABELS_BYTES = 16 * 2**20
# Errors of the call itself: nothing was tried, so there is nothing to report.
_REFUSALS = (InvalidInputError, OutputError, UnsafeInputError, UsageError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A conversion that ended.

    Attributes:
        outcome: What the executor says.
        report: The same as a document.
        folder: Where the report was written; None if it was not.
        report_error: Why it was not.
    """

    outcome: Outcome
    report: Report
    folder: Path | None
    report_error: EdgeconvError | None = None

    @property
    def exit_status(self) -> int:
        """0, or the status of the first format that was not delivered, or that of the report."""
        missing = self.report_error.exit_status if self.report_error else 0
        return self.outcome.exit_status or missing


def run_conversion(
    options: ConversionOptions,
    listener: Listener,
    *,
    settings: Settings | None = None,
    workers: WorkerPool | None = None,
) -> Conversion:
    """Convert a model as the user asked.

    Args:
        options: What to do.
        listener: Hears of steps as they happen, from several threads.
        settings: The user's settings; read from the environment unless given.
        workers: Where steps run, with the same settings; closed at the end. Its own unless given.

    Raises:
        UsageError: The options mean nothing.
        InvalidInputError: The model cannot be used; nothing was written.
        UnsafeInputError: The model would run code when read; nothing was written.
        OutputError: The output folder cannot be written; nothing was done.
        KeyboardInterrupt: The run was interrupted; what was delivered by then is whole.
    """
    request = make_request(options)
    return run_request(
        request,
        listener,
        settings=settings,
        diagnosis_seconds=options.diagnosis_seconds,
        command=options.command,
        workers=workers,
    )


def run_request(
    request: ConversionRequest,
    listener: Listener,
    *,
    settings: Settings | None = None,
    registry: Registry | None = None,
    verifiers: Mapping[str, Verifier] = VERIFIERS,
    lanes: Mapping[str, Runner] | None = None,
    diagnosis_seconds: float = 0.0,
    command: tuple[str, ...] = (),
    workers: WorkerPool | None = None,
) -> Conversion:
    """Run a request and write its report; failures of single formats are in the outcome.

    Args:
        request: What to do.
        listener: Hears of steps as they happen.
        settings: The user's settings; read from the environment unless given.
        registry: The converters there are; those that are installed unless given.
        verifiers: How each format is verified.
        lanes: Runners by lane name, for lanes that are not to run in worker processes.
        diagnosis_seconds: How long failures are looked into.
        command: The command line, for the report.
        workers: Where steps run, with the same settings; closed at the end. Its own unless given.

    Raises:
        EdgeconvError: Nothing could be tried: see `run_conversion`.
    """
    settings = settings or load_settings()
    registry = registry or Registry(allowed=settings.plugins)
    _refuse_foreign_reports(request.out)
    request = request.with_memory_limit(settings.memory_limit_bytes)
    request = replace(request, extensions=registry.extensions)
    with (
        workers or WorkerPool(settings.worker_environment, scratch=settings.scratch_dir) as pool,
        ThreadPoolExecutor(1) as aside,
    ):
        outcome = convert(
            request,
            registry=registry,
            runner=LaneRouter(lanes, pool) if lanes else pool,
            store=Store(settings.store_dir),
            listener=_Preloading(listener, aside),
            scratch=settings.scratch_dir,
            verifiers=verifiers,
            diagnose=_diagnosis(diagnosis_seconds, registry, pool, verifiers),
        )
        aside.submit(pool.close)  # processes take their time to end
        _raise_refusal(outcome)
        return _report(request, outcome, registry, settings, command)


def _diagnosis(
    seconds: float, registry: Registry, pool: WorkerPool, verifiers: Mapping[str, Verifier]
) -> Diagnose | None:
    if not seconds:
        return None

    def diagnose(
        goals: Mapping[str, GoalOutcome], subject: Subject, output: OutputFolder
    ) -> Mapping[str, GoalOutcome]:
        from edgeconv.diagnosis.diagnose import Diagnosis

        found = Diagnosis(seconds=seconds, registry=registry, runner=pool, verifiers=verifiers)
        return found(goals, subject, output)

    return diagnose


class _Preloading:
    """A listener that has the report's page made ready while the first step runs.

    Args:
        listener: Hears of everything.
        aside: Makes it ready.
    """

    def __init__(self, listener: Listener, aside: Executor) -> None:
        self._listener = listener
        self._aside: Executor | None = aside

    def step_started(self, step: Step) -> None:
        """Pass it on, and import once."""
        self._listener.step_started(step)
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.submit(_prepare_page)

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Pass it on."""
        self._listener.step_ended(record, verdict)


def _prepare_page() -> None:
    from edgeconv.report.page import page_template

    page_template()


def _refuse_foreign_reports(folder: Path) -> None:
    from edgeconv.report.document import foreign_reports

    names = foreign_reports(folder)
    if names:
        raise OutputError(
            f"'{folder.absolute()}' holds files that edgeconv did not make",
            why="its report would have to replace them",
            hint="move them away, or choose another folder with -o",
            details=[f"'{name}'" for name in names],
        )


def make_request(options: ConversionOptions) -> ConversionRequest:
    """What the executor is to do for some options.

    Raises:
        UsageError: The model, an input or an option is written in a way that means nothing.
        InvalidInputError: A file that was named is missing, or is no model.
    """
    check_numbers(seed=options.seed, timeout_seconds=options.timeout_seconds)
    check_diagnosis(options.diagnosis_seconds)
    source = parse_model(options.model, weights=options.weights, trust=options.trust)
    known = source_format(source)
    if options.name is not None and not options.name:
        raise UsageError("the name is an empty text", hint="leave --name out, or give a name")
    if options.samples is not None:
        check_data(options.samples)
    _check_texts(options.metadata)
    if options.layout is not None and known != _SOURCE:
        raise UsageError(
            f"the images of '{options.model}' cannot be given another layout",
            why="the layout is settled when a PyTorch model is captured, and this is a file of another framework",
            hint="leave --layout out: its inputs and outputs stay as they are",
        )
    labels = {} if options.labels is None else {"labels": _read_labels(options.labels)}
    return ConversionRequest(
        name=options.name or default_name(source),
        source=options.model,
        source_format=known,
        source_path=None if known == _SOURCE else source.path,
        goals=_goals(options.goals, known),
        out=options.out,
        capture_options=capture_options(options, source),
        samples=None if options.samples is None else options.samples.absolute(),
        metadata={**options.metadata, **labels},
        via=options.via,
        avoid=options.avoid,
        best=options.best,
        jobs=options.jobs,
        timeout_seconds=options.timeout_seconds,
        use_cache=options.use_cache,
        seed=options.seed,
    )


def _check_texts(metadata: Mapping[str, str]) -> None:
    """Refuse bytes of another encoding, which the command line hands over as they are: no file could hold them."""
    for key, text in metadata.items():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"the {key} is no text in UTF-8",
                why=f"character {error.start} cannot be encoded",
                hint="set the terminal to UTF-8, or leave the character out",
            ) from error


def _goals(asked: tuple[str, ...], source: str) -> tuple[str, ...]:
    """Each format once; of those that are made unless the user names others, none that the model is in already."""
    if asked == DEFAULT_GOALS:
        return tuple(goal for goal in asked if goal != source)
    return tuple(dict.fromkeys(asked))


def capture_options(options: ConversionOptions, source: ModelSource) -> dict[str, Json]:
    """What the capture step is given.

    Raises:
        UsageError: An input is written in a way that means nothing.
    """
    return {
        "source": source.to_json(),
        "inputs": [cast("Json", item.to_json()) for item in parse_inputs(options.inputs)],
        "trust": options.trust,
        **({} if options.layout is None else {"layout": parse_layout(options.layout).value}),
    }


def parse_layout(text: str) -> Layout:
    """The layout of images that a user asks for.

    Raises:
        UsageError: There is none of this name.
    """
    if text not in _LAYOUTS:
        raise UsageError(f"'{text}' is no layout", hint=f"write {' or '.join(_LAYOUTS)}")
    return Layout(text)


def source_format(source: ModelSource) -> str:
    """The format at which a model enters the graph of converters.

    Raises:
        InvalidInputError: It is a file of no known format.
    """
    if source.kind == "factory" or source.path is None:
        return _SOURCE
    found = detect(source.path).id
    return _SOURCE if found in _CAPTURED else found


def default_name(source: ModelSource) -> str:
    """A name for the files: that of the factory, or of the file without its suffixes.

    Where a factory is called `create` or the like, that of its file or module; where that is `model` or the like, that of
    the folder or package.
    """
    raw = source.function or Path(source.path or "model").name.split(".")[0]
    if source.kind == "factory" and raw in _ANY_FACTORY:
        file = source.path.with_suffix("").parts if source.path else source.module.split(".")
        telling = [place for place in file[-2:] if place.strip("_/") not in _ANY_FILE]
        raw = telling[-1] if telling else raw
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", raw).strip("._") or "model"


def _read_labels(path: Path) -> str:
    if path.exists() and (not path.is_file() or path.stat().st_size > _MAX_LABELS_BYTES):
        raise InvalidInputError(
            f"labels '{path}' cannot be read",
            why=f"it is no regular file of at most {_MAX_LABELS_BYTES // 2**20} MiB",
            hint="give a text file in UTF-8 with one class name per line",
        )
    try:
        labels = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"labels '{path}' cannot be read",
            why=str(error),
            hint="give a text file in UTF-8 with one class name per line",
        ) from error
    if not any(labels):
        raise InvalidInputError(f"labels '{path}' is empty", hint="write one class name per line")
    return "\n".join(labels)


def _raise_refusal(outcome: Outcome) -> None:
    """Raise what refused the model or the call before anything was tried, if that is all that happened."""
    errors = [goal.error for goal in outcome.goals]
    if any(goal.attempts for goal in outcome.goals) or not errors:
        return
    if all(isinstance(error, _REFUSALS) for error in errors) and errors[0] is not None:
        raise errors[0]


def _report(
    request: ConversionRequest,
    outcome: Outcome,
    registry: Registry,
    settings: Settings,
    command: tuple[str, ...],
) -> Conversion:
    import psutil

    from edgeconv.report.build import RunFacts, build_report

    plans, rejected, ignored = _plan(request, registry)
    outcome = replace(outcome, warnings=(*outcome.warnings, *ignored))
    facts = RunFacts(
        edgeconv=edgeconv_version(),
        folder=request.out.absolute(),
        command=command,
        cores=settings.cores,
        memory_bytes=psutil.virtual_memory().total,
        plans=plans,
        rejected=rejected,
        best=request.best,
        earlier=_earlier_artifacts(request, outcome),
    )
    report = build_report(outcome, facts)
    try:
        _write(report, facts.folder)
    except EdgeconvError as error:
        outcome = replace(outcome, warnings=(*outcome.warnings, "no report was written"))
        status = outcome.exit_status or error.exit_status
        report = build_report(outcome, facts).model_copy(update={"exit_status": status})
        return Conversion(outcome=outcome, report=report, folder=None, report_error=error)
    return Conversion(outcome=outcome, report=report, folder=facts.folder)


def _earlier_artifacts(request: ConversionRequest, outcome: Outcome) -> dict[str, Path]:
    """What earlier runs left where this one delivered nothing, by format.

    It was verified then, and may be all that somebody has: it stays, and the report says that it is not of this run.
    """
    missing = (goal.format for goal in outcome.goals if goal.artifact is None)
    places = {goal: request.out / f"{request.name}{find_format(goal).suffix}" for goal in missing}
    return {
        goal: path.absolute()
        for goal, path in places.items()
        if is_ours(path) and measure_size(path)
    }


def _write(report: Report, folder: Path) -> None:
    from edgeconv.report.document import PAGE_NAME, REPORT_NAME, to_text, write_text
    from edgeconv.report.page import render_page

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"'{folder}' cannot be created",
            why=error.strerror or str(error),
            hint="choose another folder with -o",
        ) from error
    write_text(folder / REPORT_NAME, to_text(report))
    write_text(folder / PAGE_NAME, render_page(report))


def _plan(
    request: ConversionRequest, registry: Registry
) -> tuple[dict[str, tuple[Plan, ...]], tuple[Rejected, ...], list[str]]:
    """Routes to each goal as they were before any of them was tried, what was out, and what of `via` says nothing."""
    planner = Planner(registry.converters)
    search = Search(via=request.via, avoid=request.avoid, environments=request.environments)
    source = request.source_format
    searches = planner.restrict(source, request.goals, search)
    plans = {
        goal: planner.routes(source, goal, each, count=_SHOWN_ROUTES)
        for goal, each in searches.items()
    }
    return plans, planner.rejected(search), ignored_via(request.via, searches)
