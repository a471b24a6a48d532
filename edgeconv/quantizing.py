"""One quantization from typed options to a delivered artifact and its report: what the command line and the API both call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.artifact import Artifact, digest_path
from edgeconv.errors import InvalidInputError, OutputError, ValidationError
from edgeconv.execute.delivery import REJECTED, OutputFolder
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.records import Listener, Step, StepRecord
from edgeconv.execute.runner import Lane, Reply, Task
from edgeconv.execute.workspace import Workspace
from edgeconv.formats import Format, detect, find_format
from edgeconv.plugin.job import Json
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.plugin.quantizers import QuantizerRegistry, missing_modules_of
from edgeconv.plugin.registry import missing_dependency
from edgeconv.quantization.request import AUTO, QuantizationRequest
from edgeconv.quantization_cache import KeptQuantization, find_key
from edgeconv.quantization_options import QuantizationOptions
from edgeconv.quantized_artifact import QuantizedArtifact
from edgeconv.report.quantization_files import (
    PAGE_SUFFIX,
    REPORT_SUFFIX,
    check_reports,
    forget_reports,
)
from edgeconv.settings import Settings, load_settings
from edgeconv.signature import DType
from edgeconv.store import Store

if TYPE_CHECKING:
    from edgeconv.report.quantization import QuantizationReport

__all__ = ["Quantization", "run_quantization"]

_ENTRY = "edgeconv.quantization.worker:quantize"
_LEAST_SNR_DB = 3.0
_LANE = "quantize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """A quantization that ended.

    Attributes:
        artifact: What was delivered; None if nothing met the budget or passed verification.
        report: All about it.
        page: The report as a page; None where what was rejected could not be kept, and its report neither.
        error: Why nothing was delivered.
    """

    artifact: QuantizedArtifact | None
    report: QuantizationReport
    page: Path | None
    error: ValidationError | None = None


def run_quantization(
    options: QuantizationOptions, listener: Listener, *, settings: Settings | None = None
) -> Quantization:
    """Quantize an artifact, verify it, and deliver it with its report.

    Args:
        options: What to do.
        listener: Hears of the steps.
        settings: The user's settings; read from the environment unless given.

    Returns:
        What was delivered; where nothing meets the budget the error says so, and the best is under `rejected/`.

    Raises:
        UsageError: The options mean nothing; nothing was done.
        InvalidInputError: The artifact or the data cannot be used; nothing was written.
        MissingDependencyError: The format's library is not installed.
        ConversionError: The library cannot quantize this model.
        OutputError: The folder cannot be written.
    """
    settings = settings or load_settings()
    known = detect(options.artifact)
    spec = _quantizer_for(known.id, options.request.recipe, settings)
    output = OutputFolder(options.out)
    _prepare(output, options, known)
    started = time.monotonic()
    try:
        with Workspace(settings.scratch_dir) as workspace:
            request = _complete(options, known, spec, workspace.folder("quantize"))
            worked = _work(request, spec, listener, settings, options)
            made = _Made(
                path=request.output,
                name=_name(options, known),
                worked=worked,
                spec=spec,
                seconds=time.monotonic() - started,
            )
            return _deliver(options, made, output)
    finally:
        output.tidy()


def _complete(
    options: QuantizationOptions, known: Format, spec: QuantizerSpec, folder: Path
) -> QuantizationRequest:
    return replace(
        options.request,
        artifact=options.artifact.absolute(),
        format=known.id,
        entry=spec.entry,
        output=folder / f"quantized{known.suffix}",
        scratch=folder,
        sources=_read_sources(options.artifact),
    )


def _name(options: QuantizationOptions, known: Format) -> str:
    return options.name or options.artifact.name.removesuffix(known.suffix)


def _prepare(output: OutputFolder, options: QuantizationOptions, known: Format) -> None:
    """Make sure that the folder takes the result, before any work is done.

    Raises:
        OutputError: It cannot be written, or holds something else under one of the names.
    """
    recipe = options.request.recipe
    # Which recipe `auto` ends with is known at the end: whether that name is free is looked at then.
    names = [] if recipe == AUTO else [f"{_name(options, known)}.{recipe}{known.suffix}"]
    for name in names:
        check_reports(output.path, name)
        target = output.path / name
        if target.exists() and target.samefile(options.artifact):
            raise OutputError(
                f"'{target}' would be replaced by what is made of it",
                hint="choose another folder with -o, or another --name",
            )
    output.prepare(dict.fromkeys(names, known))


def _read_sources(artifact: Path) -> Mapping[str, str]:
    """Lines of the user's program, from the report of the conversion that made an artifact; empty if it is not there."""
    from edgeconv.report.document import REPORT_NAME, read_report

    try:
        report = read_report(artifact.with_name(REPORT_NAME))
    except InvalidInputError:
        return {}  # there need not be one
    digest = digest_path(artifact)
    for one in report.artifacts:
        sources = one.details.get("sources")
        if one.sha256 == digest and isinstance(sources, dict):
            return {name: str(line) for name, line in sources.items()}
    return {}


def _quantizer_for(format_id: str, recipe: str, settings: Settings) -> QuantizerSpec:
    """The quantizer that does it.

    Raises:
        UsageError: There is none for the format, or for the recipe.
        MissingDependencyError: Its library is not installed.
    """
    registry = QuantizerRegistry(allowed=settings.plugins)
    spec = registry.find(format_id, None if recipe == AUTO else recipe)
    missing = missing_modules_of(spec)
    if missing:
        raise missing_dependency(f"quantizing '{format_id}'", missing, [spec.extra])
    return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worked:
    """What the worker told, now or in an earlier run."""

    facts: Mapping[str, Json]
    is_cached: bool = False
    peak_memory_bytes: int = 0


def _work(
    request: QuantizationRequest,
    spec: QuantizerSpec,
    listener: Listener,
    settings: Settings,
    options: QuantizationOptions,
) -> _Worked:
    step = Step(
        id=f"quantize/{request.recipe}",
        kind="convert",
        converter=spec.id,
        source=request.format,
        target=request.recipe,
    )
    store = Store(settings.store_dir)
    try:
        key = find_key(request, spec, store, _ENTRY) if options.use_cache else ""
        kept = KeptQuantization(store, key)
        listener.step_started(step)
        facts = kept.recall(request.output)
        if facts is not None:
            record = StepRecord(step=step, started_seconds=0.0, seconds=0.0, is_cache_hit=True)
            listener.step_ended(record, None)
            return _Worked(facts=facts, is_cached=True)
        reply = _run(request, spec, settings, options.timeout_seconds)
        record = StepRecord(
            step=step,
            started_seconds=0.0,
            seconds=reply.seconds,
            peak_memory_bytes=reply.peak_memory_bytes,
            error=reply.error,
            log=reply.log or None,
        )
        listener.step_ended(record, None)
        facts = reply.unwrap()
        kept.keep(facts, request.output, f"{options.artifact.name}: {step.id}")
    finally:
        store.close()
    return _Worked(facts=facts, peak_memory_bytes=reply.peak_memory_bytes)


def _run(
    request: QuantizationRequest,
    spec: QuantizerSpec,
    settings: Settings,
    timeout_seconds: float | None,
) -> Reply:
    task = Task(
        title=f"'{spec.id}'",
        entry=_ENTRY,
        request=request.to_json(),
        timeout_seconds=timeout_seconds,
        memory_limit_bytes=settings.memory_limit_bytes,
    )
    with WorkerPool(settings.worker_environment, scratch=settings.scratch_dir) as pool:
        return pool.run(Lane(name=_LANE), task)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What the worker made, and what it told of it."""

    path: Path
    name: str
    worked: _Worked
    spec: QuantizerSpec
    seconds: float

    @property
    def facts(self) -> Mapping[str, Json]:
        return self.worked.facts

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.facts['recipe']}{self.path.suffix}"


def _deliver(options: QuantizationOptions, made: _Made, output: OutputFolder) -> Quantization:
    """Put what was made, and its report, where it belongs: the good into the folder, the rest under `rejected/`."""
    from edgeconv.report.document import written_together
    from edgeconv.report.quantization import build_quantization_report, quantization_texts

    error = _judge(made)
    folder = output.path if error is None else _reject(made, output, error)
    report = build_quantization_report(
        made.facts,
        name=made.name,
        source=options.artifact,
        delivered=None if error else (made.file_name, digest_path(made.path)),
        quantizer=made.spec.id,
        command=options.command,
        seconds=made.seconds,
        peak_memory_bytes=made.worked.peak_memory_bytes,
        is_cached=made.worked.is_cached,
        error=error,
    )
    if folder is None:
        return Quantization(artifact=None, report=report, page=None, error=error)
    path = folder / made.file_name
    page = folder / f"{made.file_name}{PAGE_SUFFIX}"
    # An artifact without its evidence is no delivery, and an earlier one stays where there is no room for both.
    with written_together(quantization_texts(report, path)):
        if error is None:
            _put(made, output)
    if error is not None:
        return Quantization(artifact=None, report=report, page=page, error=error)
    artifact = _measured(Artifact.read(path), report, page)
    return Quantization(artifact=artifact, report=report, page=page)


def _put(made: _Made, output: OutputFolder) -> None:
    """Put what was made into the folder; what an earlier run rejected under its name goes."""
    check_reports(output.path, made.file_name)
    output.deliver(made.path, made.file_name, find_format(made.spec.format))
    forget_reports(output.path / REJECTED, made.file_name)
    output.forget_rejected(made.file_name)


def _measured(artifact: Artifact, report: QuantizationReport, page: Path) -> QuantizedArtifact:
    """What was delivered, with the figures of its report."""
    judged = report.evaluation
    figures = [(judged.metric, judged.before, judged.after)] if judged else []
    return QuantizedArtifact(
        name=report.name,
        format=artifact.format,
        path=artifact.path,
        digest=artifact.digest,
        signature=artifact.signature,
        precision=report.recipe,
        metadata=artifact.metadata,
        parents=(report.source_sha256,),
        metrics={name: after for name, _, after in figures if after is not None},
        reference_metrics={name: before for name, before, _ in figures},
        drop=judged.drop if judged else None,
        snr_db=report.snr_db,
        float_size_bytes=report.float_model.size_bytes,
        report=artifact.path.with_name(f"{artifact.path.name}{REPORT_SUFFIX}"),
        page=page,
        warnings=tuple(report.warnings),
    )


def _reject(made: _Made, output: OutputFolder, error: ValidationError) -> Path | None:
    """Keep what is not delivered.

    Returns:
        Where it is, and its report belongs; None where it cannot be kept, which the error says then: beside an artifact that
        was delivered before, its report would pass for that one's.
    """
    folder = output.path / REJECTED
    reason: dict[str, Json] = {
        "format": made.spec.format,
        "route": [made.spec.id],
        "reason": error.message,
        "verdict": {"why": error.why},
    }
    try:
        check_reports(folder, made.file_name)
        kept = output.reject(made.path, made.file_name, reason)
    except OutputError:
        kept = None
    if kept is None:
        told = f"nor is it kept: '{folder}' holds something else of its name, or cannot be written"
        error.details = (*error.details, told)
        return None
    return folder


def _judge(made: _Made) -> ValidationError | None:
    """Why what was made is not delivered; None where it is."""
    facts = made.facts
    outputs = cast("list[dict[str, Json]]", facts["outputs"])
    broken = [str(one["name"]) for one in outputs if not one["is_finite"]]
    if broken:
        return ValidationError(
            f"'{made.file_name}' computes NaN or infinity",
            why=f"output '{broken[0]}' is finite in the float model",
            hint="try another recipe, or keep operators in float with --override 'PATTERN=float32'",
        )
    if not facts["is_met"]:
        return _missed(made)
    poor = [one for one in outputs if cast("float", one["snr_db"]) < _LEAST_SNR_DB]
    has_evaluation = facts["evaluation"] is not None
    if poor and not has_evaluation:
        return ValidationError(
            f"'{made.file_name}' does not compute what the float model computes",
            why=f"the signal-to-noise ratio of output '{poor[0]['name']}' is {poor[0]['snr_db']:.1f} dB",
            hint=f"give evaluation data and a budget: --data DATA --max-drop 0.5%; or try {_others(made)}",
        )
    return None


def _others(made: _Made) -> str:
    """Recipes that lose less."""
    return " or ".join(
        one for one in ("int16x8", "int8-dynamic", "fp16") if one != made.facts["recipe"]
    )


def _missed(made: _Made) -> ValidationError:
    evaluation = cast("dict[str, Json]", made.facts["evaluation"])
    drop, wanted = cast("float", evaluation["drop"]), cast("float", evaluation["max_drop"])
    more = "give more calibration data" if made.facts["calibration"] else "give calibration data"
    if made.facts["io"] != DType.FLOAT32:
        more = f"leave inputs and outputs float with --io float32, {more}"
    if made.facts["is_cut_short"]:
        more = f"search longer with --search-seconds, {more}"
    return ValidationError(
        f"no {made.facts['recipe']} model within the budget was found for '{made.name}'",
        why=(
            f"the best, '{made.facts['chosen']}', loses {drop:.4g} of {evaluation['metric']};"
            f" at most {wanted:.4g} was allowed"
        ),
        hint=f"allow more with --max-drop, {more}, or try another --recipe (auto tries all)",
    )
