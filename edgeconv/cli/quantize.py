"""`edgeconv quantize`: a smaller artifact, with what it cost in accuracy beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from edgeconv.cli.options import AsJson, NoCache, Quiet, Seed, Timeout, Verbose, read_path
from edgeconv.cli.screen import Screen, print_message
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.quantizing import Quantization

__all__ = ["quantize"]

ArtifactFile = Annotated[
    Path,
    typer.Argument(
        parser=read_path,
        metavar="ARTIFACT",
        help="A float TFLite or ONNX file, edgeconv's or anyone's.",
        show_default=False,
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="fp16, int8, int8-dynamic, int8-weights, int16x8, int4-weights, int4-weights-b32 (-b64, -b128, -b256),"
        " auto to choose within the budget, or the .recipe.json of an earlier run.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=read_path,
        metavar="DIR",
        help="Folder that receives the artifact and its report.",
        show_default=False,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        parser=read_path,
        metavar="DATA",
        help="Real inputs to find ranges with: a .npz, a folder of .npy, or of images.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        parser=read_path,
        metavar="DATA",
        help="Held-out data to measure accuracy on, with 'label' where there are labels.",
        show_default=False,
    ),
]
MetricName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="top1, top5, mAP, auc, mse, cosine, agreement, or module:function; what fits the data unless given.",
        show_default=False,
    ),
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET",
        help="How much accuracy may be lost, as 0.005 or 0.5%; operators keep more bits until it holds.",
        show_default=False,
    ),
]
Optimize = Annotated[
    str,
    typer.Option(metavar="size|latency", help="What is best among those within the budget."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="PATTERN=RECIPE",
        help="Another precision for operators whose name or source line matches; float32 keeps them.",
        show_default=False,
    ),
]
InOut = Annotated[
    str,
    typer.Option("--io", metavar="float32|int8|uint8", help="Dtype of float inputs and outputs."),
]
ObserverName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How ranges are chosen: min-max, percentile, mse, entropy; auto tries several.",
    ),
]
Prepare = Annotated[
    str,
    typer.Option(
        metavar="STEPS",
        help="Of infinities, equalize, clip, bias, split, with commas between; none for the file as it is.",
    ),
]
MostSamples = Annotated[
    int,
    typer.Option(
        "--calibration-samples",
        metavar="N",
        min=0,
        help="Most samples to calibrate with; 0 for all.",
    ),
]
AllowRandom = Annotated[
    bool,
    typer.Option("--allow-random-calibration", help="Calibrate with noise where there is no data."),
]
Preprocess = Annotated[
    Path | None,
    typer.Option(
        "--config",
        parser=read_path,
        metavar="FILE",
        help="Its [preprocess] table says how images become inputs; edgeconv.toml here unless given.",
        show_default=False,
    ),
]
SearchSeconds = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.0, help="How long is searched at most.")
]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Names the files; else the artifact's.", show_default=False),
]


def quantize(  # noqa: PLR0913 - one parameter for each option
    artifact: ArtifactFile,
    *,
    recipe: RecipeName = "int8",
    output: Output,
    calibration: Calibration = None,
    data: Data = None,
    metric: MetricName = "",
    max_drop: MaxDrop = None,
    optimize: Optimize = "size",
    override: Overrides = None,
    io: InOut = "float32",
    observer: ObserverName = "auto",
    prepare: Prepare = "infinities,equalize,clip,bias,split",
    calibration_samples: MostSamples = 512,
    allow_random_calibration: AllowRandom = False,
    config: Preprocess = None,
    search_seconds: SearchSeconds = 170.0,
    name: Name = None,
    timeout: Timeout = None,
    no_cache: NoCache = False,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Quantize an artifact, measure what that costs, and keep within an accuracy budget.

    Without a budget the best of several ways to prepare and calibrate the model is delivered.
    """
    from edgeconv.cli.failure import tell_error
    from edgeconv.cli.progress import watch
    from edgeconv.quantization_options import QuantizationChoices, make_options
    from edgeconv.quantizing import run_quantization

    options = make_options(
        artifact,
        output,
        QuantizationChoices(
            recipe=recipe,
            calibration=calibration,
            data=data,
            metric=metric,
            max_drop=None if max_drop is None else read_drop(max_drop),
            optimize=optimize,
            overrides=tuple(override or ()),
            io=io,
            observer=observer,
            prepare=tuple(part.strip() for part in prepare.split(",") if part.strip()),
            most_samples=calibration_samples,
            random_samples=allow_random_calibration,
            config=config,
            search_seconds=search_seconds,
            seed=seed,
        ),
        name=name,
        timeout_seconds=timeout,
        command=("edgeconv", *sys.argv[1:]),
        use_cache=not no_cache,
    )
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    with watch(screen) as listener:
        done = run_quantization(options, listener)
    _tell(done, screen)
    if done.error is None:
        return 0
    return tell_error(done.error, Screen(is_verbose=verbose))


def read_drop(text: str) -> float:
    """A budget as it is written: a number in the metric's own unit, or a percentage.

    Raises:
        UsageError: It is neither.

    >>> read_drop("0.5%"), read_drop("0.01")
    (0.005, 0.01)
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value < float("inf"):
        raise UsageError(f"'{text}' is no budget", hint="write 0.005 or 0.5%")
    return value


def _tell(done: Quantization, screen: Screen) -> None:
    from edgeconv.cli.quantization_summary import summarize_quantization

    report = done.report
    screen.show(
        cast("dict[str, object]", report.model_dump(mode="json", by_alias=True)),
        summarize_quantization(report),
    )
    alarm = report.alarm if done.error is None else None  # an error says what to do itself
    for text in report.warnings:
        if text != alarm:
            screen.note(f"warning: {text}")
    if done.artifact is not None:
        screen.note(f"artifact: {done.artifact.path}")
    if done.page is not None:
        screen.note(f"report: {done.page}")
    if alarm:  # last, where it is read, and however quiet one is
        print_message(f"warning: {alarm}")
