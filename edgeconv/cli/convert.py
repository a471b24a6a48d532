"""`edgeconv convert`: capture a model, convert it, verify every artifact, and report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeconv.cli.options import (
    AsJson,
    Inputs,
    Model,
    NoCache,
    Quiet,
    Samples,
    Seed,
    Timeout,
    Trust,
    Verbose,
    Weights,
    read_path,
    split_ids,
)
from edgeconv.cli.screen import Screen

if TYPE_CHECKING:
    from edgeconv.conversion import Conversion
    from edgeconv.errors import EdgeconvError

__all__ = ["convert"]

To = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FORMATS",
        help="Formats, with commas between; all four unless given.",
        show_default="onnx,torchscript,savedmodel,tflite",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=read_path,
        metavar="DIR",
        help="Folder that receives the artifacts and the report.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The model's name, and that of the files; else the factory's or the file's.",
        show_default=False,
    ),
]
Via = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="A converter or format that routes must pass, where it leads to the format.",
        show_default=False,
    ),
]
Avoid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID", help="A converter or format that no route may pass.", show_default=False
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="nchw|nhwc",
        help="Where images have their channels, in every format; nhwc as cameras deliver. The model's own unless given.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Steps that run side by side; one for each core unless given.",
        show_default=False,
    ),
]
Best = Annotated[
    str | None,
    typer.Option(
        metavar="latency|size|accuracy",
        help="Follow all routes to the end, measure what they made, and keep the best; else the first that is verified.",
        show_default=False,
    ),
]
Diagnose = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="How long the smallest part that fails is looked for when a format failed; 0 not to.",
    ),
]
Author = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Who made the model; kept inside artifacts.", show_default=False
    ),
]
Description = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="What the model does; kept inside artifacts.", show_default=False
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        "--label-file",
        parser=read_path,
        metavar="FILE",
        help="Names of the classes, one per line; kept inside artifacts.",
        show_default=False,
    ),
]


def convert(  # noqa: PLR0913 - one parameter for each option
    model: Model,
    *,
    to: To = None,
    output: Output,
    inputs: Inputs = None,
    weights: Weights = None,
    name: Name = None,
    via: Via = None,
    avoid: Avoid = None,
    layout: Layout = None,
    best: Best = None,
    samples: Samples = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
    diagnose: Diagnose = 60.0,
    no_cache: NoCache = False,
    trust: Trust = False,
    seed: Seed = 0,
    author: Author = None,
    description: Description = None,
    labels: Labels = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Convert a model, verify every artifact against it, and write a report.

    Every route to a format is tried until one gives an artifact that computes what the model computes.
    """
    from edgeconv.cli.ahead import started_ahead
    from edgeconv.cli.progress import watch
    from edgeconv.conversion import DEFAULT_GOALS, ConversionOptions, as_criterion, run_conversion

    metadata = {"author": author, "description": description}
    options = ConversionOptions(
        model=model,
        out=output,
        goals=split_ids(to) or DEFAULT_GOALS,
        name=name,
        inputs=tuple(inputs or ()),
        weights=weights,
        layout=layout,
        samples=samples,
        via=split_ids(via),
        avoid=split_ids(avoid),
        best=as_criterion(best),
        jobs=jobs,
        timeout_seconds=timeout,
        diagnosis_seconds=diagnose,
        use_cache=not no_cache,
        trust=trust,
        seed=seed,
        metadata={key: value for key, value in metadata.items() if value is not None},
        labels=labels,
        command=("edgeconv", *sys.argv[1:]),
    )
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    with watch(screen) as listener:
        conversion = run_conversion(options, listener, workers=started_ahead())
    return _tell(conversion, screen)


def _tell(conversion: Conversion, screen: Screen) -> int:
    """Print the table and what failed; returns the exit status."""
    from edgeconv.cli.failure import tell_error
    from edgeconv.cli.summary import summarize
    from edgeconv.report.document import PAGE_NAME, to_text
    from edgeconv.report.reading import all_warnings

    report = conversion.report
    if screen.is_json or any(goal.attempts for goal in report.goals):
        screen.show_json_text(to_text(report), summarize(report))
    for text in all_warnings(report):
        screen.note(f"warning: {text}")
    for error in _distinct_errors(conversion):
        tell_error(error, Screen(is_verbose=screen.is_verbose))
    if conversion.folder is not None:
        screen.note(f"report: {conversion.folder / PAGE_NAME}")
    return conversion.exit_status


def _distinct_errors(conversion: Conversion) -> list[EdgeconvError]:
    """Errors of the formats; one that is the same for several is told once."""
    errors = [goal.error for goal in conversion.outcome.goals if goal.error]
    errors += [conversion.report_error] if conversion.report_error else []
    return list({str(error): error for error in errors}.values())
