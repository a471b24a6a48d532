"""Makes the report of a run from the executor's records."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from pydantic import JsonValue

from edgeconv.errors import EdgeconvError
from edgeconv.execute.records import Attempt, Candidate, Criterion, GoalOutcome, Outcome, StepRecord
from edgeconv.plan.plan import Plan, Rejected
from edgeconv.report.model import (
    ArtifactReport,
    AttemptReport,
    CandidateReport,
    ErrorReport,
    ExecutionReport,
    GoalReport,
    HostReport,
    RejectedConverter,
    Report,
    RouteCostReport,
    RouteReport,
    SignatureReport,
    SourceReport,
    StepReport,
    VerdictReport,
)
from edgeconv.report.strict_json import strict
from edgeconv.signature import Signature
from edgeconv.validation.verdict import Verdict

__all__ = ["RunFacts", "build_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a report says beside the outcome.

    Attributes:
        edgeconv: Version of edgeconv.
        folder: Where the report will lie; paths in it are relative to this.
        command: The command line; empty when called from Python.
        cores: Processor cores the run could use.
        memory_bytes: Memory of the machine.
        plans: Routes by format, in the order they would be tried.
        rejected: Converters that no route could take.
        best: What decided between the artifacts of all routes, if anything.
        earlier: Artifacts of earlier runs that lie where this run delivered none, by format.
        ended: When the run ended; now unless given.
    """

    edgeconv: str
    folder: Path
    command: tuple[str, ...] = ()
    cores: int = 1
    memory_bytes: int = 0
    plans: Mapping[str, tuple[Plan, ...]] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    best: Criterion | None = None
    earlier: Mapping[str, Path] = field(default_factory=dict)
    ended: datetime | None = None


def build_report(outcome: Outcome, facts: RunFacts) -> Report:
    """The report of a run."""
    ended = facts.ended or datetime.now(UTC)
    return Report(
        edgeconv=facts.edgeconv,
        created=ended.astimezone(UTC).isoformat(timespec="seconds"),
        command=list(facts.command),
        host=_host(facts),
        name=outcome.name,
        source=SourceReport(
            model=outcome.source, digest=outcome.source_digest, parameters=outcome.parameters
        ),
        signature=_signature(outcome.signature) if outcome.signature else None,
        best=facts.best,
        goals=[_goal(goal, facts) for goal in outcome.goals],
        rejected_converters=[
            RejectedConverter(converter=item.converter, reason=item.reason)
            for item in facts.rejected
        ],
        steps=[_step(record) for record in outcome.steps],
        artifacts=list(_artifacts(outcome, facts)),
        versions=_versions(outcome.steps),
        warnings=[*outcome.warnings, *_earlier_warnings(facts.earlier)],
        seed=outcome.seed,
        seconds=outcome.seconds,
        peak_memory_bytes=outcome.peak_memory_bytes,
        exit_status=outcome.exit_status,
    )


def _host(facts: RunFacts) -> HostReport:
    return HostReport(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cores=facts.cores,
        memory_bytes=facts.memory_bytes,
        python=platform.python_version(),
    )


def _signature(signature: Signature) -> SignatureReport:
    return SignatureReport.model_validate(signature.to_json())


def _goal(goal: GoalOutcome, facts: RunFacts) -> GoalReport:
    rejected, earlier = goal.rejected_path, facts.earlier.get(goal.format)
    return GoalReport(
        format=goal.format,
        plan=[_route(plan) for plan in facts.plans.get(goal.format, ())],
        attempts=[_attempt(attempt) for attempt in goal.attempts],
        is_delivered=goal.artifact is not None,
        rejected_path=_relative(rejected, facts.folder) if rejected else None,
        earlier_path=_relative(earlier, facts.folder) if earlier else None,
        reproduction=_relative(goal.reproduction, facts.folder) if goal.reproduction else None,
        candidates=[_candidate(item) for item in goal.candidates],
        error=_error(goal.error),
    )


def _earlier_warnings(earlier: Mapping[str, Path]) -> Iterable[str]:
    for format_id, path in earlier.items():
        yield f"'{path.name}' is of an earlier run: this one delivered no '{format_id}', and its report is not about that file"


def _candidate(item: Candidate) -> CandidateReport:
    return CandidateReport(
        route=list(item.route),
        bytes=item.size_bytes,
        latency_seconds=item.latency_seconds,
        error_over_tolerance=item.error if math.isfinite(item.error) else None,
        is_chosen=item.is_chosen,
        reason=item.reason,
    )


def _route(plan: Plan) -> RouteReport:
    return RouteReport(
        route=list(plan.route),
        formats=[plan.source.format, *(spec.target for spec in plan.steps)],
        cost=RouteCostReport(
            fidelity=plan.cost.fidelity,
            hops=plan.cost.hops,
            install_bytes=plan.cost.install_bytes,
            seconds=plan.cost.seconds,
        ),
    )


def _attempt(attempt: Attempt) -> AttemptReport:
    return AttemptReport(
        route=list(attempt.route),
        result=attempt.result,
        reason=attempt.reason,
        verdict=_verdict(attempt.verdict),
    )


def _verdict(verdict: Verdict | None) -> VerdictReport | None:
    return VerdictReport.model_validate(strict(verdict.to_json())) if verdict else None


def _error(error: EdgeconvError | None) -> ErrorReport | None:
    return ErrorReport.model_validate(error.to_json()) if error else None


def _step(record: StepRecord) -> StepReport:
    step = record.step
    return StepReport(
        id=step.id,
        kind=step.kind,
        converter=step.converter,
        source=step.source,
        target=step.target,
        started_seconds=round(record.started_seconds, 4),
        seconds=round(record.seconds, 4),
        peak_memory_bytes=record.peak_memory_bytes,
        is_cache_hit=record.is_cache_hit,
        versions=dict(record.versions),
        warnings=list(record.warnings),
        details=_details(record, step.kind),
        error=_error(record.error),
    )


# The capture lists every file it read, for the cache, and the verdict stands elsewhere in the report.
_LEFT_OUT = {
    "capture": frozenset({"dependencies", "distributions", "signature", "export_error"}),
    "convert": frozenset[str](),
    "verify": frozenset({"verdict"}),
    "measure": frozenset[str](),
    "diagnose": frozenset[str](),
}


def _details(
    record: StepRecord, kind: Literal["capture", "convert", "verify", "measure", "diagnose"]
) -> dict[str, JsonValue]:
    kept = {key: value for key, value in record.details.items() if key not in _LEFT_OUT[kind]}
    return cast("dict[str, JsonValue]", strict(kept))


def _artifacts(outcome: Outcome, facts: RunFacts) -> Iterable[ArtifactReport]:
    by_id = {record.step.id: record for record in outcome.steps if record.error is None}
    for goal in outcome.goals:
        artifact = goal.artifact
        if artifact is None:
            continue
        route = next((a.route for a in goal.attempts if a.result == "delivered"), ())
        key = "/".join(route)
        details: dict[str, JsonValue] = {}
        for record in (by_id.get(key), by_id.get(f"{key}/verify")):
            details |= _details(record, record.step.kind) if record else {}
        execution = details.pop("execution", None)
        yield ArtifactReport(
            format=artifact.format,
            path=_relative(artifact.path, facts.folder),
            bytes=artifact.size_bytes,
            sha256=artifact.digest,
            precision=artifact.precision,
            signature=_signature(artifact.signature),
            metadata=dict(artifact.metadata),
            details=details,
            execution=None if execution is None else ExecutionReport.model_validate(execution),
            route=list(route),
            verdict=_verdict(goal.verdict),
        )


def _versions(records: Iterable[StepRecord]) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in records:
        found |= record.versions
    return dict(sorted(found.items()))


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
