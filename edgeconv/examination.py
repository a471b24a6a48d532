"""Looks at models without delivering anything: what is in them, and whether an artifact is what its model is.

Captures come from the same cache as those of conversions, so that inspecting a model and converting it
afterwards captures it once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from edgeconv.artifact import digest_path, measure_size
from edgeconv.artifact_inputs import complete_options
from edgeconv.errors import (
    CaptureError,
    EdgeconvError,
    InvalidInputError,
    UnsupportedOperatorsError,
    UsageError,
)
from edgeconv.execute.answering import Accuracy, answer, with_metric
from edgeconv.execute.capture import Capture, capture
from edgeconv.execute.gate import Gate
from edgeconv.execute.in_process import LaneRouter
from edgeconv.execute.observation import observe
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.records import Listener
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Lane, Runner, Task
from edgeconv.execute.steps import Steps
from edgeconv.execute.verification import VERIFIERS
from edgeconv.execute.work import Material, conversion, verification
from edgeconv.execute.workspace import Workspace
from edgeconv.formats import Format, find_format
from edgeconv.inspection.facts import ModelFacts
from edgeconv.plan.planner import Planner
from edgeconv.plugin.job import Json
from edgeconv.plugin.registry import Registry, is_installed, missing_dependency
from edgeconv.settings import Settings, load_settings
from edgeconv.store import Store
from edgeconv.validation.verdict import Verdict
from edgeconv.version import edgeconv_version

__all__ = ["Examination", "examine_file", "examine_model", "verify_artifact"]

_ENTRY = "edgeconv.inspection.worker:inspect_file"
_LOG = logging.getLogger(__name__)
_MODULE, _PROGRAM, _GRAPH = "torch", "torch-export", "edge-graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found in a model that PyTorch can capture.

    Attributes:
        facts: Its signature and size; with the operators of the edge graph if it could be lowered, else those of the program.
        error: Why it could not.
        unsupported: Of the program's operators those that kept it from being lowered.
    """

    facts: ModelFacts
    error: EdgeconvError | None = None
    unsupported: tuple[str, ...] = ()


def examine_model(
    request: ConversionRequest,
    listener: Listener,
    *,
    with_graph: bool = False,
    settings: Settings | None = None,
) -> Examination:
    """Capture a model and lower it to the edge graph.

    Args:
        request: The model, and how it is captured; nothing is delivered.
        listener: Hears of the steps.
        with_graph: Whether the text of the edge graph is wanted.
        settings: The user's settings; read from the environment unless given.

    Raises:
        EdgeconvError: The model cannot be captured.
    """
    with _open_bench(request, listener, settings or load_settings()) as bench:
        captured = bench.capture()
        facts = ModelFacts(
            format=_MODULE,
            size_bytes=measure_size(captured.program.path) if captured.program else 0,
            signature=captured.signature,
            parameters=captured.parameters,
        )
        try:
            graph = bench.lower(captured)
        except EdgeconvError as error:
            operators = bench.program_operators(captured)
            is_listed = isinstance(error, UnsupportedOperatorsError)
            named = {line.partition(" x")[0] for line in error.details} if is_listed else set()
            return Examination(
                facts=replace(facts, operators=operators),
                error=error,
                unsupported=tuple(name for name in operators if name in named),
            )
        found = _inspect(
            bench.steps.runner,
            graph,
            _GRAPH,
            with_graph=with_graph,
            timeout_seconds=request.timeout_seconds,
        )
        return Examination(facts=replace(facts, operators=found.operators, graph=found.graph))


def examine_file(
    path: Path,
    known: Format,
    *,
    timeout_seconds: float | None = None,
    settings: Settings | None = None,
) -> ModelFacts:
    """Read a model file with the library of its format, in a worker process.

    Args:
        path: The file or folder.
        known: Its format.
        timeout_seconds: Most time that it may take; None for no limit.
        settings: The user's settings; read from the environment unless given.

    Raises:
        InvalidInputError: The file is damaged.
        MissingDependencyError: The library is not installed.
    """
    settings = settings or load_settings()
    with WorkerPool(settings.worker_environment, scratch=settings.scratch_dir) as pool:
        return _inspect(pool, path, known.id, with_graph=True, timeout_seconds=timeout_seconds)


def verify_artifact(
    path: Path,
    known: Format,
    request: ConversionRequest,
    listener: Listener,
    *,
    accuracy: Accuracy | None = None,
    lanes: Mapping[str, Runner] | None = None,
    settings: Settings | None = None,
) -> Verdict:
    """Compare an artifact with its model, on this machine.

    What is not said of the inputs of a factory's model is what the artifact says: dtypes, sizes, dims.

    Args:
        path: The artifact.
        known: Its format.
        request: The model, and how it is captured; nothing is delivered.
        listener: Hears of the steps.
        accuracy: What is measured on labelled data besides.
        lanes: Runners by lane name, for lanes that are not to run in worker processes.
        settings: The user's settings; read from the environment unless given.

    Raises:
        EdgeconvError: The model cannot be captured, or the artifact cannot be run.
    """
    _check_runtime(known)
    with _open_bench(request, listener, settings or load_settings(), lanes) as bench:
        captured = bench.capture_for(path, known)
        artifact = Material(path=path, digest=digest_path(path))
        return bench.verify(artifact, known, captured, accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Single steps for one model."""

    request: ConversionRequest
    steps: Steps
    planner: Planner

    def capture_for(self, artifact: Path, known: Format) -> Capture:
        """Capture the model with the inputs that an artifact tells of; as it was asked for where they do not fit it."""
        source = cast("dict[str, Json]", self.request.capture_options.get("source") or {})
        if self.request.captured is None and source.get("kind") == "factory":
            signature = _inspect(
                self.steps.runner,
                artifact,
                known.id,
                with_graph=False,
                is_real=True,
                timeout_seconds=self.request.timeout_seconds,
            ).signature
            for options in complete_options(self.request.capture_options, signature):
                told = replace(self.request, capture_options=options)
                try:
                    return replace(self, request=told).capture()
                except (InvalidInputError, CaptureError) as error:
                    _LOG.info("the model does not take the inputs of the artifact: %s", error)
        return self.capture()

    def capture(self) -> Capture:
        source = self.request.source_format
        if source != _MODULE:
            _check_runtime(find_format(source))
            return observe(self.request, VERIFIERS[source], self.steps, on_miss=_nothing)
        spec = self.planner.best(_MODULE, _PROGRAM).steps[0]
        return capture(
            spec,
            self.request,
            self.steps,
            version=edgeconv_version(),
            needs_file=True,
            on_miss=_nothing,
        )

    def lower(self, captured: Capture) -> Path:
        if captured.program is None:
            raise captured.export_error or UsageError("the model has no program to lower")
        head = self.planner.best(_MODULE, _PROGRAM).route
        spec = self.planner.best(_PROGRAM, _GRAPH).steps[0]
        facts = {"edgeconv_version": edgeconv_version(), "source_digest": captured.source_digest}
        work = replace(
            conversion(spec, (*head, spec.id), self.request),
            inputs={"source": captured.program, "reference": captured.reference},
            signature=captured.signature,
            metadata={**self.request.metadata, **facts},
        )
        return cast("Material", self.steps.do(work, on_miss=_nothing).material).path

    def program_operators(self, captured: Capture) -> Mapping[str, int]:
        """What the program calls, and how often; empty where there is no program, or it cannot be read without a plug-in."""
        if captured.program is None:
            return {}
        try:
            return _inspect(
                self.steps.runner,
                captured.program.path,
                _PROGRAM,
                with_graph=False,
                timeout_seconds=self.request.timeout_seconds,
            ).operators
        except EdgeconvError as error:
            _LOG.info("the operators of the program are not known: %s", error)
            return {}

    def verify(
        self, artifact: Material, known: Format, captured: Capture, accuracy: Accuracy | None
    ) -> Verdict:
        work = verification(known.id, VERIFIERS[known.id], (known.id,), self.request)
        work = replace(
            work,
            inputs={"artifact": artifact, "reference": captured.reference},
            options={**work.options, "precision": None},  # the file's own
            signature=captured.signature,
        )
        if accuracy is not None:
            source = self.request.source_format
            verifier = VERIFIERS[_PROGRAM if source == _MODULE else source]
            answers = answer(
                accuracy, captured, self.request, verifier, self.steps, on_miss=_nothing
            )
            work = with_metric(work, accuracy, answers, self.steps)
        return cast("Verdict", self.steps.do(work, on_miss=_nothing).verdict)


@contextmanager
def _open_bench(
    request: ConversionRequest,
    listener: Listener,
    settings: Settings,
    lanes: Mapping[str, Runner] | None = None,
) -> Iterator[_Bench]:
    registry = Registry(allowed=settings.plugins)
    planner = Planner(registry.converters)
    request = replace(request, extensions=registry.extensions)
    store = Store(settings.store_dir)
    try:
        with (
            WorkerPool(settings.worker_environment, scratch=settings.scratch_dir) as pool,
            Workspace(settings.scratch_dir) as workspace,
        ):
            steps = Steps(
                request.with_memory_limit(settings.memory_limit_bytes),
                runner=LaneRouter(lanes, pool) if lanes else pool,
                store=store,
                listener=listener,
                workspace=workspace,
                gate=Gate(1),
            )
            yield _Bench(request=request, steps=steps, planner=planner)
    finally:
        store.close()


def _inspect(
    runner: Runner,
    path: Path,
    format_id: str,
    *,
    with_graph: bool,
    timeout_seconds: float | None,
    is_real: bool = False,
) -> ModelFacts:
    verifier = VERIFIERS[format_id]
    task = Task(
        title=f"inspection of '{path.name}'",
        entry=_ENTRY,
        request={"path": str(path), "format": format_id, "graph": with_graph, "real": is_real},
        timeout_seconds=timeout_seconds,
    )
    reply = runner.run(Lane(name=verifier.lane), task)
    return ModelFacts.from_json(reply.unwrap())


def _check_runtime(known: Format) -> None:
    verifier = VERIFIERS.get(known.id)
    if verifier is None:
        raise UsageError(
            f"'{known.id}' cannot be run",
            why="nothing runs it",
            hint="give a file of another format: " + ", ".join(sorted(VERIFIERS)),
        )
    missing = [name for name in verifier.requires if not is_installed(name)]
    if missing:
        raise missing_dependency(f"running '{known.id}'", missing, [verifier.extra])


def _nothing() -> None:
    """Nothing need be made ready: these steps follow one another."""
