"""`edgeconv validate`: compares an artifact with the model it was made from, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeconv.cli.options import (
    AsJson,
    Inputs,
    NoCache,
    Quiet,
    Samples,
    Seed,
    Timeout,
    Trust,
    Verbose,
    Weights,
    read_path,
)
from edgeconv.cli.quantize import Data, MetricName, Preprocess, read_drop
from edgeconv.cli.screen import Screen, as_table
from edgeconv.errors import ValidationError, counted
from edgeconv.formats.record import FLOAT
from edgeconv.report.figures import format_error, format_floor
from edgeconv.validation.verdict import NO_SAMPLES, OutputMetrics, Verdict

__all__ = ["validate"]

_HEADER = ("output", "max abs error", "relative", "floor", "tolerance", "cosine", "SNR", "verdict")

ArtifactFile = Annotated[
    Path,
    typer.Argument(
        parser=read_path,
        metavar="ARTIFACT",
        help="A file, or the folder of a SavedModel.",
        show_default=False,
    ),
]
Reference = Annotated[
    str,
    typer.Option(
        "--reference",
        metavar="MODEL",
        help="The model it must agree with: a .pt2, or a factory.",
        show_default=False,
    ),
]

MaxDrop = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET",
        help="How much worse the metric may be than the model's, as 0.005 or 0.5%.",
        show_default=False,
    ),
]


def validate(  # noqa: PLR0913 - one parameter for each option
    artifact: ArtifactFile,
    *,
    reference: Reference,
    inputs: Inputs = None,
    weights: Weights = None,
    samples: Samples = None,
    data: Data = None,
    metric: MetricName = "",
    max_drop: MaxDrop = None,
    config: Preprocess = None,
    timeout: Timeout = None,
    no_cache: NoCache = False,
    trust: Trust = False,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Check that an artifact computes what its model computes.

    It passes when its error stays near the distance of the model in float32 and in float64; a quantized artifact by what is
    left of the signal, on real samples. With --data a metric of both is measured, on all of it; outputs are compared on the first 16 samples.
    What --input does not say of a factory's inputs is read from the artifact.
    """
    from edgeconv.cli.failure import tell_error
    from edgeconv.cli.progress import watch
    from edgeconv.conversion import ConversionOptions, make_request
    from edgeconv.examination import verify_artifact
    from edgeconv.execute.answering import Accuracy
    from edgeconv.formats import detect

    known = detect(artifact)
    budget = None if max_drop is None else read_drop(max_drop)
    accuracy = Accuracy.of(
        artifact, known, data=data, metric=metric, max_drop=budget, config=config
    )
    options = ConversionOptions(
        model=reference,
        out=Path(),
        inputs=tuple(inputs or ()),
        weights=weights,
        samples=samples,
        timeout_seconds=timeout,
        use_cache=not no_cache,
        trust=trust,
        seed=seed,
    )
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    with watch(screen) as listener:
        verdict = verify_artifact(
            artifact.absolute(), known, make_request(options), listener, accuracy=accuracy
        )
    screen.show(verdict.to_json(), _tell(verdict))
    if verdict.passed:
        return 0
    return tell_error(_failure(verdict, str(artifact), reference), Screen(is_verbose=verbose))


def _failure(verdict: Verdict, artifact: str, reference: str) -> ValidationError:
    if NO_SAMPLES in verdict.problems:
        return ValidationError(f"'{artifact}' cannot be judged", why=NO_SAMPLES)
    if verdict.samples == 0:
        return ValidationError(
            f"'{artifact}' cannot be compared with '{reference}'",
            why="nothing that this model takes runs in it: it was made from another model, or for other inputs",
            hint="give the model that it was made from; if it was this one, its inputs with --input",
            details=verdict.problems,
        )
    if verdict.metrics and all(output.passed for output in verdict.outputs):
        return ValidationError(
            f"'{artifact}' is not as good as '{reference}'", why=verdict.summary()
        )
    return ValidationError(
        f"'{artifact}' does not compute what '{reference}' computes",
        why=verdict.summary(),
        hint="make sure that it was made from this model, with these weights",
    )


def _tell(verdict: Verdict) -> str:
    rows = [_cells(output) for output in verdict.outputs] if verdict.samples else []
    blocks = [as_table(_HEADER, rows, right=(1, 2, 3, 4, 5, 6))] if rows else []
    told = [f"note: {text}" for text in verdict.notes]
    told += [f"problem: {text}" for text in verdict.problems]
    blocks += ["\n".join(told)] if told else []
    if not verdict.samples:
        return "\n\n".join([*blocks, f"failed: nothing was compared with {verdict.reference}"])
    blocks += [
        f"{name} {figure:.4f} (model {verdict.reference_metrics[name]:.4f}),"
        f" on {counted(verdict.metric_samples, 'sample')}"
        for name, figure in verdict.metrics.items()
    ]
    state = "passed" if verdict.passed else "failed"
    compared = counted(verdict.samples, "input" if verdict.precision == FLOAT else "real input")
    blocks.append(f"{state}: outputs for {compared}, against {verdict.reference}")
    return "\n\n".join(blocks)


def _cells(output: OutputMetrics) -> tuple[str, ...]:
    if (
        not output.passed and output.max_abs_error == 0
    ):  # of another shape or kind: nothing was measured
        return (output.name, *["-"] * (len(_HEADER) - 2), output.reason)
    is_quantized = output.min_snr_db is not None
    return (
        output.name,
        format_error(output.max_abs_error),
        format_error(output.relative_error),
        "-"
        if is_quantized
        else format_floor(output.error_over_floor) or format_error(output.noise_floor),
        f"{output.min_snr_db:g} dB" if is_quantized else format_error(output.tolerance),
        f"{output.cosine:.7f}",
        "-" if output.snr_db is None else f"{output.snr_db:.1f} dB",
        "passed" if output.passed else output.reason or "failed",
    )
