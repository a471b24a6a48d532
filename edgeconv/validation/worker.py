"""The verification step: opens an artifact in its own runtime and compares it with the reference."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.artifact import digest_path
from edgeconv.dims import is_static
from edgeconv.errors import EdgeconvError, MissingDependencyError, UnsafeInputError
from edgeconv.formats import load_handler
from edgeconv.formats.handler import DescribesExecution, Session
from edgeconv.formats.record import FLOAT, read_precision
from edgeconv.formats.stored_precision import find_stored_precision
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.signature import Signature, TensorSpec
from edgeconv.validation.compare import OutputComparison
from edgeconv.validation.integers import NO_INTEGERS, IntegerEnds
from edgeconv.validation.layouts import LayoutBridge
from edgeconv.validation.reference import Case, Reference, read_reference
from edgeconv.validation.tolerance import SignalTolerance, signal_tolerance
from edgeconv.validation.verdict import NO_SAMPLES, Verdict

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["compare_signatures", "verify", "verify_artifact"]

_UNTOLD = "the file does not say how it was quantized; what is in it comes nearest to '{}', and it is judged by that"


def verify(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Verify `inputs["artifact"]` against the bundle `inputs["reference"]`.

    Args:
        request: The JSON of a `Job`; the option `format` names the artifact's format, and `precision` its precision if it is
            known: else what the artifact says of itself, or what is found in it. `inputs["answers"]`, if it is there, is a bundle
            of more real samples.
        context: Of the worker; not used.

    Returns:
        The JSON of a `JobResult`: the verdict is in its details.

    Raises:
        InvalidInputError: The file is damaged, or of another format.
        UnsafeInputError: It would run code when read.
        MissingDependencyError: The runtime of the format is not installed.
    """
    job = Job.from_json(request)
    artifact, reference = job.inputs["artifact"], read_reference(job.inputs["reference"])
    format_id, execution = str(job.options["format"]), dict[str, object]()
    told, notes = job.options.get("precision"), tuple[str, ...]()
    precision = str(told or read_precision(load_handler(format_id).read_metadata(artifact)))
    # Of a model that rounds its activations itself, its noise floor says how far integers may be off.
    if told is None and precision == FLOAT and reference.noise_source != "rounding":
        precision = find_stored_precision(format_id, artifact)
        notes = () if precision == FLOAT else (_UNTOLD.format(precision),)
    if "answers" in job.inputs:
        reference = reference.joined(read_reference(job.inputs["answers"]))
    verdict = verify_artifact(artifact, format_id, reference, execution, precision=precision)
    details = {"verdict": cast("Json", replace(verdict, notes=notes).to_json())}
    if execution:
        details["execution"] = cast("Json", execution)
    return JobResult(output=artifact, details=details).to_json()


def verify_artifact(
    path: Path,
    format_id: str,
    reference: Reference,
    execution: MutableMapping[str, object] | None = None,
    *,
    precision: str = FLOAT,
) -> Verdict:
    """Run an artifact on every case of a reference and compare; a quantized one is judged on the real samples alone.

    An intact file that its runtime refuses, or that does not run on a case, has failed: that is a problem in the
    verdict, not an exception.

    Args:
        path: The artifact.
        format_id: Its format.
        reference: What it is compared with.
        execution: Receives what the runtime says of how it carries out the model at the example's sizes, if it does.
        precision: The recipe that it was quantized with.

    Raises:
        InvalidInputError: The file is damaged, or of another format.
        UnsafeInputError: It would run code when read.
        MissingDependencyError: The runtime of the format is not installed.
    """
    handler = load_handler(format_id)
    trial = _Trial.of(reference, precision)
    declared = handler.read_signature(path)
    bridge = LayoutBridge.between(reference.signature, declared)
    ends = (
        IntegerEnds.between(bridge.expected, handler, path) if trial.is_quantized else NO_INTEGERS
    )
    problems = compare_signatures(ends.in_artifact(bridge.expected), declared)
    try:
        with ends.open(handler.open(path)) as session:
            problems += trial.run(_Runner(session, bridge, execution))
    except (MissingDependencyError, UnsafeInputError):
        raise
    except EdgeconvError as error:
        problems.append(_one_line(error))
    return _conclude(
        trial, reference, problems, path=path, format_id=format_id, precision=precision
    )


def _conclude(
    trial: _Trial,
    reference: Reference,
    problems: list[str],
    *,
    path: Path,
    format_id: str,
    precision: str,
) -> Verdict:
    """The verdict on what was run."""
    outputs = tuple(comparison.metrics() for comparison in trial.comparisons.values())
    is_run = any(comparison.is_compared for comparison in trial.comparisons.values())
    judged = sum(trial.is_judged(case) for case in reference.cases)
    if not judged and trial.is_quantized:
        problems = [*problems, NO_SAMPLES]
    return Verdict(
        reference=reference.computed_by,
        candidate=digest_path(path),
        format=format_id,
        device="local",
        samples=judged if is_run else 0,
        sizes=tuple(sizes for sizes, _ in reference.groups()) if is_run else (),
        outputs=outputs,
        problems=tuple(problems),
        passed=not problems and all(output.passed for output in outputs),
        precision=precision,
    )


def _compare(
    reference: Reference, spec: TensorSpec, signal: SignalTolerance | None
) -> OutputComparison:
    return OutputComparison(
        name=spec.name,
        dtype=spec.dtype,
        noise_floor=reference.noise_floor[spec.name],
        limits=reference.ranges[spec.name],
        signal=signal,
    )


@dataclass(frozen=True, slots=True)
class _Runner:
    """An opened artifact that takes and gives what the model does, whatever the layout of its images is."""

    session: Session
    bridge: LayoutBridge
    execution: MutableMapping[str, object] | None

    def run(self, case: Case) -> dict[str, Array]:
        outputs = self.bridge.run(self.session, case.inputs())
        if self.execution == {} and isinstance(self.session, DescribesExecution):
            self.execution.update(self.session.describe_execution())
        return outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """The cases, and what is found on them."""

    reference: Reference
    comparisons: Mapping[str, OutputComparison]
    signal: SignalTolerance | None

    @staticmethod
    def of(reference: Reference, precision: str) -> _Trial:
        signal = None if precision == FLOAT else signal_tolerance(precision)
        outputs = reference.signature.outputs
        comparisons = {spec.name: _compare(reference, spec, signal) for spec in outputs}
        return _Trial(reference=reference, comparisons=comparisons, signal=signal)

    @property
    def is_quantized(self) -> bool:
        return self.signal is not None

    def is_judged(self, case: Case) -> bool:
        """Noise says nothing of an artifact that was calibrated for real inputs, but that it runs."""
        return case.kind == "sample" or not self.is_quantized

    def run(self, session: _Runner) -> list[str]:
        """Run all cases; returns what is wrong besides the values."""
        cases = self.reference.cases
        if not cases:
            return ["there is no case to compare"]
        found = [self._run_case(session, case) for case in cases]
        problems = _shorten([problem for problems in found for problem in problems])
        failed = [name for name, each in self.comparisons.items() if not each.metrics().passed]
        judged = next((case for case in cases if self.is_judged(case)), None)
        if failed and not problems and judged is not None:
            problems += self._find_exchanged(session, judged, failed)
        return problems

    def _run_case(self, session: _Runner, case: Case) -> list[str]:
        try:
            got = session.run(case)
        except EdgeconvError as error:
            return [f"case '{case.name}' {dict(case.sizes) or ''} does not run: {_one_line(error)}"]
        wanted, is_judged = case.outputs(), self.is_judged(case)
        for name, comparison in self.comparisons.items():
            if name in got:
                comparison.add(case.name, wanted[name], got[name], is_judged=is_judged)
        return [f"output '{name}' is missing" for name in self.comparisons if name not in got]

    def _find_exchanged(self, session: _Runner, case: Case, failed: list[str]) -> list[str]:
        """Outputs that hold what others should hold."""
        got, wanted = session.run(case), case.outputs()
        return [
            f"output '{name}' holds what '{other}' should hold"
            for name in failed
            for other in failed
            if other != name and self._is_like(case, other, wanted[other], got[name])
        ]

    def _is_like(self, case: Case, name: str, wanted: Array, got: Array) -> bool:
        spec = next(spec for spec in self.reference.signature.outputs if spec.name == name)
        comparison = _compare(self.reference, spec, self.signal)
        comparison.add(case.name, wanted, got)
        return comparison.metrics().passed


def _shorten(problems: list[str]) -> list[str]:
    """The first problem with a case, and how many more there are: one cause fails many cases."""
    if len(problems) < 3:
        return problems
    return [problems[0], f"{len(problems) - 1} more problems like this"]


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
