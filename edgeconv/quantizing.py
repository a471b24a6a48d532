"""One quantization from typed options to a delivered artifact and its report: what the command line and the API both call."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.artifact import Artifact, digest_path
from edgeconv.errors import (
    InvalidInputError,
    UsageError,
    ValidationError,
)
from edgeconv.execute.delivery import OutputFolder
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.records import Listener, Step, StepRecord
from edgeconv.execute.runner import Lane, Reply, Task
from edgeconv.formats import detect, find_format
from edgeconv.plugin.job import Json
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.plugin.registry import is_installed, missing_dependency
from edgeconv.quantization.recipes import RECIPES, find_recipe
from edgeconv.quantization.request import AUTO, OBSERVER_NAMES, STEPS, QuantizationRequest
from edgeconv.settings import Settings, load_settings
from edgeconv.signature import DType

if TYPE_CHECKING:
    from edgeconv.report.quantization import QuantizationReport

__all__ = [
    "GROUP",
    "Quantization",
    "QuantizationChoices",
    "QuantizationOptions",
    "find_quantizers",
    "make_options",
    "run_quantization",
]

GROUP = "edgeconv.quantizers"
"""Entry points of quantizers."""

_ENTRY = "edgeconv.quantization.worker:quantize"
_LEAST_SNR_DB = 3.0
_IO = ("float32", "int8", "uint8")
_CONFIG = Path("edgeconv.toml")
_LANE = "quantize"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationOptions:
    """What the user asked for.

    Attributes:
        artifact: A float TFLite or ONNX file.
        out: Folder that receives the result.
        request: Everything else; its paths of the artifact, the output and the scratch folder are filled in.
        name: Names the files; the artifact's own name unless given.
        timeout_seconds: None for no limit.
        command: The command line, for the report.
    """

    artifact: Path
    out: Path
    request: QuantizationRequest
    name: str | None = None
    timeout_seconds: float | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """A quantization that ended.

    Attributes:
        artifact: What was delivered; None if nothing met the budget or passed verification.
        report: All about it.
        page: The report as a page.
        error: Why nothing was delivered.
    """

    artifact: Artifact | None
    report: QuantizationReport
    page: Path
    error: ValidationError | None = None


def find_quantizers() -> tuple[QuantizerSpec, ...]:
    """All quantizers that are installed, by id; edgeconv's own first."""
    found = [point.load() for point in entry_points(group=GROUP)]
    specs = [spec for spec in found if isinstance(spec, QuantizerSpec)]
    return tuple(sorted(specs, key=lambda spec: spec.id))


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
    spec = _quantizer_for(known.id, options.request.recipe)
    name = options.name or options.artifact.name.removesuffix(known.suffix)
    output = OutputFolder(options.out)
    # Which recipe `auto` ends with is known at the end: whether that name is free is looked at then.
    is_auto = options.request.recipe == AUTO
    output.prepare({} if is_auto else {f"{name}.{options.request.recipe}{known.suffix}": known})
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(dir=_scratch(settings), prefix="quantize-") as folder:
            made = Path(folder) / f"quantized{known.suffix}"
            request = replace(
                options.request,
                artifact=options.artifact.absolute(),
                format=known.id,
                entry=spec.entry,
                output=made,
                scratch=Path(folder),
                sources=_read_sources(options.artifact),
            )
            reply = _work(request, spec, listener, settings, options.timeout_seconds)
            facts = reply.unwrap()
            return _deliver(
                options,
                _Made(
                    path=made,
                    name=name,
                    file_name=f"{name}.{facts['recipe']}{known.suffix}",
                    facts=facts,
                    spec=spec,
                ),
                output,
                seconds=time.monotonic() - started,
                peak_memory_bytes=reply.peak_memory_bytes,
            )
    finally:
        output.tidy()


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


def _scratch(settings: Settings) -> Path | None:
    folder = settings.scratch_dir
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _quantizer_for(format_id: str, recipe: str) -> QuantizerSpec:
    specs = find_quantizers()
    fitting = [spec for spec in specs if spec.format == format_id]
    if not fitting:
        formats = sorted({spec.format for spec in specs})
        raise UsageError(
            f"'{format_id}' artifacts cannot be quantized",
            why="no quantizer takes this format",
            hint="give an artifact of "
            + " or ".join(formats)
            + ", such as 'edgeconv convert' makes",
        )
    spec = fitting[0]
    if recipe != AUTO and recipe in RECIPES and recipe not in spec.recipes:
        raise UsageError(
            f"there is no recipe '{recipe}' for {format_id}",
            why=f"'{spec.id}' has no such precision",
            hint="use one of: " + ", ".join(spec.recipes),
        )
    missing = [module for module in spec.requires if not is_installed(module)]
    if missing:
        raise missing_dependency(f"quantizing '{format_id}'", missing, [spec.extra])
    return spec


def _work(
    request: QuantizationRequest,
    spec: QuantizerSpec,
    listener: Listener,
    settings: Settings,
    timeout_seconds: float | None,
) -> Reply:
    step = Step(
        id=f"quantize/{request.recipe}",
        kind="convert",
        converter=spec.id,
        source=request.format,
        target=request.recipe,
    )
    listener.step_started(step)
    task = Task(
        title=f"'{spec.id}'",
        entry=_ENTRY,
        request=request.to_json(),
        timeout_seconds=timeout_seconds,
        memory_limit_bytes=settings.memory_limit_bytes,
    )
    with WorkerPool(settings.worker_environment, scratch=settings.scratch_dir) as pool:
        reply = pool.run(Lane(name=_LANE), task)
    record = StepRecord(
        step=step,
        started_seconds=0.0,
        seconds=reply.seconds,
        peak_memory_bytes=reply.peak_memory_bytes,
        error=reply.error,
        log=reply.log or None,
    )
    listener.step_ended(record, None)
    return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    path: Path
    name: str
    file_name: str
    facts: Mapping[str, Json]
    spec: QuantizerSpec


def _deliver(
    options: QuantizationOptions,
    made: _Made,
    output: OutputFolder,
    *,
    seconds: float,
    peak_memory_bytes: int,
) -> Quantization:
    from edgeconv.report.document import write_text
    from edgeconv.report.quantization import build_quantization_report, write_quantization_report

    known = find_format(made.spec.format)
    error = _judge(made)
    path: Path | None = None
    if error is None:
        output.forget_rejected(made.file_name)
        path = output.deliver(made.path, made.file_name, known)
    else:
        reason: dict[str, Json] = {
            "format": known.id,
            "route": [made.spec.id],
            "reason": error.message,
            "verdict": {"why": error.why},
        }
        output.reject(made.path, made.file_name, reason)
    report = build_quantization_report(
        made.facts,
        name=made.name,
        source=options.artifact,
        artifact=path,
        quantizer=made.spec.id,
        command=options.command,
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes,
        error=error,
    )
    page = write_quantization_report(report, output.path, made.file_name)
    if path is not None:
        recipe = json.dumps(made.facts["reproduce"], indent=2) + "\n"
        write_text(output.path / f"{made.file_name}.recipe.json", recipe)
    if path is None:
        return Quantization(artifact=None, report=report, page=page, error=error)
    artifact = replace(
        Artifact.read(path),
        name=made.name,
        precision=str(made.facts["recipe"]),
        parents=(report.source_sha256,),
    )
    return Quantization(artifact=artifact, report=report, page=page)


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
            hint="give evaluation data and a budget: --data DATA --max-drop 0.5%; or try int16x8 or int8-dynamic",
        )
    return None


def _missed(made: _Made) -> ValidationError:
    evaluation = cast("dict[str, Json]", made.facts["evaluation"])
    drop, wanted = cast("float", evaluation["drop"]), cast("float", evaluation["max_drop"])
    return ValidationError(
        f"no {made.facts['recipe']} model within the budget was found for '{made.name}'",
        why=(
            f"the best, '{made.facts['chosen']}', loses {drop:.4g} of {evaluation['metric']};"
            f" at most {wanted:.4g} was allowed"
        ),
        hint="allow more with --max-drop, give more calibration data, or try another --recipe (auto tries all)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationChoices:
    """What users choose, as they write it; see `QuantizationRequest` for what each means.

    Attributes:
        recipe: Name of a recipe, `auto`, or the path of a `.recipe.json`.
        calibration: Real inputs.
        data: Evaluation data.
        metric: Its metric.
        max_drop: The budget.
        optimize: `size` or `latency`.
        overrides: `PATTERN=RECIPE`.
        io: Dtype of float inputs and outputs.
        observer: Its name, or `auto`.
        prepare: Steps of the preparation; `none` for none.
        most_samples: To calibrate with.
        random_samples: Whether noise will do.
        config: An edgeconv.toml; the one in the working folder unless given.
        search_seconds: Most time of the search.
        seed: Of the selection of samples.
    """

    recipe: str = "int8"
    calibration: Path | None = None
    data: Path | None = None
    metric: str = ""
    max_drop: float | None = None
    optimize: str = "size"
    overrides: tuple[str, ...] = ()
    io: str = "float32"
    observer: str = AUTO
    prepare: tuple[str, ...] = STEPS
    most_samples: int = 512
    random_samples: bool = False
    config: Path | None = None
    search_seconds: float = 170.0
    seed: int = 0


def make_options(
    artifact: Path,
    out: Path,
    choices: QuantizationChoices,
    *,
    name: str | None = None,
    timeout_seconds: float | None = None,
    command: tuple[str, ...] = (),
) -> QuantizationOptions:
    """Options for `run_quantization`.

    Raises:
        UsageError: A choice means nothing.
        InvalidInputError: A file that was named is missing or damaged.
    """
    from edgeconv.quantization.plans import parse_override

    if choices.recipe.endswith(".json"):
        choices = _read_recipe(Path(choices.recipe), choices)
    _check(choices)
    steps = () if choices.prepare == ("none",) else choices.prepare
    config = choices.config or (_CONFIG if _CONFIG.is_file() else None)
    request = QuantizationRequest(
        artifact=artifact.absolute(),
        format="",
        entry="",
        output=Path(),
        scratch=Path(),
        recipe=choices.recipe,
        overrides=tuple(parse_override(text) for text in choices.overrides),
        io=DType(choices.io),
        calibration=_absolute(choices.calibration),
        random_samples=choices.random_samples,
        most_samples=choices.most_samples,
        observer=choices.observer,
        steps=steps,
        data=_absolute(choices.data),
        metric=choices.metric,
        max_drop=choices.max_drop,
        optimize="latency" if choices.optimize == "latency" else "size",
        search_seconds=choices.search_seconds,
        preprocess=_absolute(config),
        python_path=(str(Path.cwd()),),
        seed=choices.seed,
    )
    return QuantizationOptions(
        artifact=artifact,
        out=out,
        request=request,
        name=name,
        timeout_seconds=timeout_seconds,
        command=command,
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _check(choices: QuantizationChoices) -> None:
    """Refuse what means nothing before any work starts."""
    if choices.recipe != AUTO:
        find_recipe(choices.recipe)
    _one_of("io", choices.io, _IO)
    _one_of("optimize", choices.optimize, ("size", "latency"))
    _one_of("observer", choices.observer, (AUTO, *OBSERVER_NAMES))
    for step in choices.prepare:
        _one_of("prepare", step, ("none", *STEPS))
    if choices.max_drop is not None and choices.data is None:
        raise UsageError(
            "an accuracy budget needs data to measure the accuracy on",
            hint="give evaluation data with --data; it must not be the calibration data",
        )
    if choices.recipe == AUTO and choices.max_drop is None:
        raise UsageError(
            "recipe 'auto' needs a budget to choose by", hint="give --max-drop and --data"
        )
    if choices.max_drop is not None and not 0 <= choices.max_drop < math.inf:
        raise UsageError(
            f"the budget is {choices.max_drop}", hint="give a number from 0 on, or a percentage"
        )
    if choices.metric and choices.data is None:
        raise UsageError(
            f"metric '{choices.metric}' needs data", hint="give evaluation data with --data"
        )


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(
            f"'{value}' is no value of {option}", hint="use one of: " + ", ".join(known)
        )


def _read_recipe(path: Path, choices: QuantizationChoices) -> QuantizationChoices:
    """The choices with what a saved recipe says in place of what it settles.

    Raises:
        InvalidInputError: It is missing, or no recipe of edgeconv.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
        return replace(
            choices,
            recipe=str(data["recipe"]),
            overrides=(*(f"{k}={v}" for k, v in data["overrides"].items()), *choices.overrides),
            io=str(data["io"]),
            observer=str(data["observer"]),
            prepare=tuple(data["prepare"]) or ("none",),
            most_samples=int(data["samples"]),
            seed=int(data["seed"]),
        )
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"'{path}' is no recipe that edgeconv saved",
            why=f"{type(error).__name__}: {error}",
            hint="give the .recipe.json of an earlier run, or the name of a recipe",
        ) from error
