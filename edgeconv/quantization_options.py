"""From what users choose for a quantization, as they write it, to what a run is asked for; nothing is imported or run for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.execute.answering import CONFIG, check_budget
from edgeconv.execute.executor import check_name
from edgeconv.options import check_numbers
from edgeconv.quantization.overrides import parse_override
from edgeconv.quantization.recipes import find_recipe
from edgeconv.quantization.request import AUTO, OBSERVER_NAMES, STEPS, QuantizationRequest
from edgeconv.signature import DType

__all__ = ["QuantizationChoices", "QuantizationOptions", "make_options"]

_IO = ("float32", "int8", "uint8")
_NONE = "none"


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
        use_cache: Whether the result of an earlier run is used, and this one's kept.
    """

    artifact: Path
    out: Path
    request: QuantizationRequest
    name: str | None = None
    timeout_seconds: float | None = None
    command: tuple[str, ...] = ()
    use_cache: bool = True


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
    use_cache: bool = True,
) -> QuantizationOptions:
    """Options for `run_quantization`.

    Raises:
        UsageError: A choice means nothing.
        InvalidInputError: A file that was named is missing or damaged.
    """
    is_settled = choices.recipe.endswith(".json")
    if is_settled:
        choices = _read_recipe(Path(choices.recipe), choices)
    _check(choices)
    check_numbers(timeout_seconds=timeout_seconds, seed=choices.seed)
    if name is not None:
        check_name(name)
    return QuantizationOptions(
        artifact=artifact,
        out=out,
        request=_make_request(artifact, choices, is_settled=is_settled),
        name=name,
        timeout_seconds=timeout_seconds,
        command=command,
        use_cache=use_cache,
    )


def _make_request(
    artifact: Path, choices: QuantizationChoices, *, is_settled: bool
) -> QuantizationRequest:
    steps = () if choices.prepare == (_NONE,) else choices.prepare
    config = choices.config or (CONFIG if CONFIG.is_file() else None)
    return QuantizationRequest(
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
        is_settled=is_settled,
        python_path=(str(Path.cwd()),),
        seed=choices.seed,
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
    for step in choices.prepare if choices.prepare != (_NONE,) else ():
        _one_of("prepare", step, STEPS if len(choices.prepare) > 1 else (_NONE, *STEPS))
    _check_budget(choices)


def _check_budget(choices: QuantizationChoices) -> None:
    if choices.max_drop is not None and choices.data is None:
        raise UsageError(
            "an accuracy budget needs data to measure the accuracy on",
            hint="give evaluation data with --data; it must not be the calibration data",
        )
    if choices.recipe == AUTO and choices.max_drop is None:
        raise UsageError(
            "recipe 'auto' needs a budget to choose by", hint="give --max-drop and --data"
        )
    check_budget(choices.max_drop)
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
            prepare=tuple(data["prepare"]) or (_NONE,),
            most_samples=int(data["samples"]),
            seed=int(data["seed"]),
        )
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"'{path}' is no recipe that edgeconv saved",
            why=f"{type(error).__name__}: {error}",
            hint="give the .recipe.json of an earlier run, or the name of a recipe",
        ) from error
