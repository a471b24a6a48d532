"""Follows one route from the captured model to a verified artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError, FailureKind, OutputError, StepError, ValidationError
from edgeconv.execute.capture import Capture, LiveModel, send_live
from edgeconv.execute.losses import Losses, Once
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.retiring import Retiring
from edgeconv.execute.runner import Lane
from edgeconv.execute.steps import Steps
from edgeconv.execute.verification import Verifier
from edgeconv.execute.work import Done, Material, conversion, verification
from edgeconv.formats import find_format, load_handler
from edgeconv.plan.plan import Plan
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.extension import PLUGIN_OPERATORS
from edgeconv.store.files import copy
from edgeconv.validation.verdict import Verdict

__all__ = ["Made", "RouteLostError", "Shared", "follow"]

_MODULE = "torch"
# A runtime that dies of an artifact, or refuses to open it, has judged it; a timeout says nothing about it.
_JUDGEMENTS = (FailureKind.CRASHED, FailureKind.INVALID_INPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the goals of one run have in common.

    Attributes:
        request: The run.
        steps: Does single steps.
        captured: The model.
        capture_id: The converter that captured it; empty for a file of another framework.
        capture_lane: The lane whose process holds it.
        losses: Converters that failed.
        results: Steps that were done, by route.
        verifiers: By format id.
        metadata: Stored inside artifacts.
        warm: Makes the lanes ready that a route will use after its step of some index.
        retiring: Ends the lanes that nobody needs any more.
    """

    request: ConversionRequest
    steps: Steps
    captured: Capture
    capture_id: str
    capture_lane: Lane
    losses: Losses
    results: Once[Done]
    verifiers: Mapping[str, Verifier]
    metadata: Mapping[str, str]
    warm: Callable[[Plan, int], None]
    retiring: Retiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a route made, and what that was made from."""

    material: Material
    parent: Material
    verdict: Verdict


class RouteLostError(Exception):
    """A route failed; its converter is out for this model. Never reaches users.

    Attributes:
        error: Why.
        rejected: What was made, where verification is what failed.
        verdict: What verification found, if it came so far.
    """

    def __init__(
        self,
        error: EdgeconvError,
        *,
        rejected: Material | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.rejected = rejected
        self.verdict = verdict


def follow(plan: Plan, shared: Shared) -> Made:
    """Do all steps of a route and verify what it made.

    Raises:
        RouteLostError: A step failed, or the artifact is not what the model is.
        OutputError: The disk is full: another route would meet the same.
    """
    parent = material = shared.captured.head
    brought: dict[str, str] = {}
    for index, spec in enumerate(plan.steps):
        parent = material
        if spec.id == shared.capture_id:
            material = _take_program(
                plan, shared, is_taken_live=_is_taken_live(plan, index, shared)
            )
        else:
            done = _convert_once(plan, index, material, shared)
            material = cast("Material", done.material)
            brought |= cast("dict[str, str]", done.result.details.get(PLUGIN_OPERATORS) or {})
        shared.retiring.advance(plan, index + 1)
    verdict = _verify(plan, material, shared, brought)
    return Made(material=material, parent=parent, verdict=verdict)


def _is_taken_live(plan: Plan, index: int, shared: Shared) -> bool:
    """Whether the step after `index` reads the program from memory: where it is in memory, or nowhere else."""
    captured = shared.captured
    if index + 1 == len(plan.steps) or not plan.steps[index + 1].takes_live or not captured.live:
        return False
    return captured.live.is_there or not captured.is_saved


def _take_program(plan: Plan, shared: Shared, *, is_taken_live: bool) -> Material:
    """The captured program; with the metadata in it where it is what is delivered.

    The capture does not store it, so that what is made from the program does not depend on it.
    """
    program = cast("Material", shared.captured.program)
    if not (is_taken_live or shared.captured.is_saved):
        program = _save_program(plan, shared)
    is_delivered = len(plan.steps) == 1
    if not is_delivered or not shared.verifiers[plan.goal].stamps_capture:
        return program
    path = (
        shared.steps.new_folder("stamped") / f"{shared.request.name}{find_format(plan.goal).suffix}"
    )
    try:
        copy(program.path, path)
        load_handler(plan.goal).stamp(path, shared.captured.signature, shared.metadata)
        return Material(path=path, digest=shared.steps.digest(path))
    except OSError as error:
        raise OutputError(
            f"'{path}' cannot be written",
            why=str(error),
            hint="set EDGECONV_CACHE_DIR to a writable folder with enough space",
        ) from error


def _save_program(plan: Plan, shared: Shared) -> Material:
    """Write the program to a file, once for all routes that need one.

    Raises:
        RouteLostError: It cannot be written.
    """
    spec, live = plan.steps[0], cast("LiveModel", shared.captured.live)
    work = conversion(spec, (spec.id,), shared.request)
    work = replace(
        work,
        entry=f"{work.entry.partition(':')[0]}:save_program",
        inputs={"source": cast("Material", shared.captured.program)},
        signature=shared.captured.signature,
        metadata={"edgeconv_version": shared.metadata["edgeconv_version"]},
        lane=shared.capture_lane,
    )
    send = send_live(live, shared.steps, takes_program=True)
    try:
        done = shared.results.get(
            (spec.id,),
            lambda: shared.steps.do(work, send, on_miss=lambda: None),
            on_wait=shared.steps.gate.arrive,
        )
    except OutputError:
        raise
    except EdgeconvError as error:
        raise RouteLostError(error) from error
    return cast("Material", done.material)


def _convert_once(plan: Plan, index: int, source: Material, shared: Shared) -> Done:
    """Do one conversion, or take its result from another goal whose route begins alike."""
    spec, route = plan.steps[index], plan.route[: index + 1]
    try:
        _check_accepts(spec, source, shared)
        return shared.results.get(
            route,
            lambda: _convert(plan, index, source, shared),
            on_wait=shared.steps.gate.arrive,
        )
    except OutputError:
        raise
    except EdgeconvError as error:
        shared.losses.add(spec.id, describe(error), error)
        raise RouteLostError(error) from error


def _convert(plan: Plan, index: int, source: Material, shared: Shared) -> Done:
    spec = plan.steps[index]
    work = replace(
        conversion(spec, plan.route[: index + 1], shared.request),
        inputs={"source": source, "reference": shared.captured.reference},
        signature=shared.captured.signature,
        metadata=shared.metadata,
    )
    send = None
    live = shared.captured.live
    is_module = spec.source == _MODULE
    if live is not None and (is_module or _is_taken_live(plan, index - 1, shared)):
        work = replace(work, lane=shared.capture_lane)
        send = send_live(live, shared.steps, takes_program=not is_module)
    return shared.steps.do(work, send, on_miss=lambda: shared.warm(plan, index))


def _check_accepts(spec: ConverterSpec, source: Material, shared: Shared) -> None:
    if spec.accepts is None:
        return
    artifact = Artifact(
        name=shared.request.name,
        format=spec.source,
        path=source.path,
        digest=source.digest,
        signature=shared.captured.signature,
    )
    refusal = spec.accepts(artifact)
    if refusal:
        raise StepError(
            f"'{spec.id}' does not take this model",
            kind=FailureKind.INVALID_INPUT,
            why=refusal.reason,
        )


def _verify(plan: Plan, material: Material, shared: Shared, brought: Mapping[str, str]) -> Verdict:
    """What verification says; a failure names the operators that plug-ins translated on the way."""
    verifier, last = shared.verifiers[plan.goal], plan.steps[-1]
    work = replace(
        verification(plan.goal, verifier, plan.route, shared.request),
        inputs={"artifact": material, "reference": shared.captured.reference},
        signature=shared.captured.signature,
    )
    try:
        done = shared.steps.do(work, on_miss=lambda: None)
    except EdgeconvError as error:
        shared.losses.add(last.id, describe(error))
        is_judged = error.failure_kind in _JUDGEMENTS
        raise RouteLostError(error, rejected=material if is_judged else None) from error
    verdict = cast("Verdict", done.verdict)
    if not verdict.passed:
        shared.losses.add(last.id, f"its result failed verification: {verdict.summary()}")
        failed = ValidationError(
            f"what '{last.id}' made does not compute what the model computes",
            why=verdict.summary() + _suspects(brought),
        )
        raise RouteLostError(failed, rejected=material, verdict=verdict)
    return verdict


def _suspects(brought: Mapping[str, str]) -> str:
    """What is to be looked at first: what plug-ins did for this model was tried on fewer models than the rest."""
    if not brought:
        return ""
    named = ", ".join(f"'{operator}' (plug-in {title})" for operator, title in brought.items())
    return f"; look first at the operators that plug-ins translate: {named}"


def describe(error: EdgeconvError) -> str:
    """An error in one line."""
    return f"{error.message}: {error.why}" if error.why else error.message
