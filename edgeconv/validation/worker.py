"""The verification step: opens an artifact in its own runtime and compares it with the reference."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import cast

from edgeconv.artifact import digest_path
from edgeconv.dims import is_static
from edgeconv.errors import EdgeconvError, MissingDependencyError
from edgeconv.formats import load_handler
from edgeconv.formats.handler import Session
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.signature import Signature, TensorSpec
from edgeconv.validation.compare import OutputComparison
from edgeconv.validation.reference import Reference, read_reference
from edgeconv.validation.verdict import Verdict

__all__ = ["compare_signatures", "verify", "verify_artifact"]


def verify(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Verify `inputs["artifact"]` against the bundle `inputs["reference"]`.

    Args:
        request: The JSON of a `Job`; the option `format` names the artifact's format, `is_given` tells that the
            user named the artifact.
        context: Of the worker; not used.

    Returns:
        The JSON of a `JobResult`: the verdict is in its details.

    Raises:
        MissingDependencyError: The runtime of the format is not installed.
        InvalidInputError: The user named a file that cannot be read.
    """
    job = Job.from_json(request)
    artifact, reference = job.inputs["artifact"], read_reference(job.inputs["reference"])
    is_given = bool(job.options.get("is_given"))
    verdict = verify_artifact(artifact, str(job.options["format"]), reference, is_given=is_given)
    return JobResult(
        output=artifact, details={"verdict": cast("Json", verdict.to_json())}
    ).to_json()


def verify_artifact(
    path: Path, format_id: str, reference: Reference, *, is_given: bool = False
) -> Verdict:
    """Run an artifact on every case of a reference and compare.

    What goes wrong on the way (the runtime refuses the file, a case does not run) is a problem in the verdict, not an
    exception.

    Args:
        path: The artifact.
        format_id: Its format.
        reference: What the model computes.
        is_given: Whether the user named it: a file that cannot be read or opened at all is then no verdict on a
            conversion, but a file that cannot be used.

    Raises:
        MissingDependencyError: The runtime of the format is not installed.
        InvalidInputError: The user named a file that is damaged, or says nothing of what goes in and out.
    """
    handler = load_handler(format_id)
    comparisons = {
        spec.name: OutputComparison(
            name=spec.name,
            noise_floor=reference.noise_floor[spec.name],
            limits=reference.ranges[spec.name],
        )
        for spec in reference.signature.outputs
    }
    compared = 0
    try:
        problems = compare_signatures(reference.signature, handler.read_signature(path))
        with handler.open(path) as session:
            compared, more = _run_cases(session, reference, comparisons)
        problems += more
    except EdgeconvError as error:
        if is_given or isinstance(error, MissingDependencyError):
            raise
        problems = [_one_line(error)]
    outputs = tuple(comparison.metrics() for comparison in comparisons.values())
    return Verdict(
        reference="PyTorch, float32",
        candidate=digest_path(path),
        format=format_id,
        device="local",
        samples=compared,
        sizes=tuple(sizes for sizes, _ in reference.groups()),
        outputs=outputs,
        problems=tuple(problems),
        passed=not problems and all(output.passed for output in outputs),
    )


def _run_cases(
    session: Session, reference: Reference, comparisons: Mapping[str, OutputComparison]
) -> tuple[int, list[str]]:
    """Compare all cases; returns how many ran, and what was wrong, each reason once with the cases it concerns."""
    failed: dict[str, list[str]] = {}
    absent: dict[str, None] = {}
    compared = 0
    for case in reference.cases:
        try:
            got = session.run(case.inputs()).outputs
        except EdgeconvError as error:
            name = f"'{case.name}'" + (f" {dict(case.sizes)}" if case.sizes else "")
            failed.setdefault(_one_line(error), []).append(name)
            continue
        compared += 1
        wanted = case.outputs()
        for name, comparison in comparisons.items():
            if name in got:
                comparison.add(case.name, wanted[name], got[name])
            else:
                absent[f"output '{name}' is missing"] = None
    return compared, [*map(_describe_cases, failed.values(), failed), *absent]


def _describe_cases(names: list[str], why: str) -> str:
    if len(names) == 1:
        return f"case {names[0]} does not run: {why}"
    return f"cases {', '.join(names)} do not run: {why}"


def _one_line(error: EdgeconvError) -> str:
    return "; ".join(part for part in (error.message, error.why, *error.details) if part)


def compare_signatures(wanted: Signature, got: Signature) -> list[str]:
    """Every difference in names, order, dtypes, ranks, fixed sizes and dynamic axes."""
    problems: list[str] = []
    for what, left, right in (
        ("inputs", wanted.inputs, got.inputs),
        ("outputs", wanted.outputs, got.outputs),
    ):
        names, found = [spec.name for spec in left], [spec.name for spec in right]
        if names != found:
            problems.append(f"{what} are named {found}, not {names}")
            continue
        for spec, other in zip(left, right, strict=True):
            problems += _compare_specs(spec, other, is_input=what == "inputs")
    return problems


def _compare_specs(wanted: TensorSpec, got: TensorSpec, *, is_input: bool) -> list[str]:
    problems = []
    if wanted.dtype != got.dtype:
        problems.append(f"'{wanted.name}' is {got.dtype}, not {wanted.dtype}")
    if len(wanted.shape) != len(got.shape):
        return [*problems, f"'{wanted.name}' has rank {len(got.shape)}, not {len(wanted.shape)}"]
    for axis, (size, other) in enumerate(zip(wanted.shape, got.shape, strict=True)):
        if is_static((size, other)) and size != other:
            problems.append(f"'{wanted.name}' has size {other} on axis {axis}, not {size}")
        # What an output's size is follows from running it; a fixed input cannot take other sizes.
        if is_input and is_static((other,)) and not is_static((size,)):
            problems.append(f"'{wanted.name}' is fixed to {other} on axis {axis}, not {size}")
    return problems
