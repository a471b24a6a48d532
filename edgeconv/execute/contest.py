"""Compares what several routes made of one format, and says which is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from edgeconv.artifact import measure_size
from edgeconv.execute.records import Candidate, Criterion, Step
from edgeconv.execute.route import Made, Shared
from edgeconv.execute.runner import Lane, Task
from edgeconv.plan.plan import Plan
from edgeconv.plugin.job import Job, JobResult
from edgeconv.validation.measure import CANDIDATE
from edgeconv.validation.verdict import Verdict

__all__ = ["Entrant", "choose_best", "compare", "worst_error"]

_ENTRY = "edgeconv.validation.measure:measure"
# Medians of the same file differ by this much from run to run.
_SAME_LATENCY = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A route that was followed to the end, and what it made."""

    plan: Plan
    made: Made


def compare(
    entrants: Sequence[Entrant], best: Criterion, goal: str, shared: Shared
) -> list[Candidate]:
    """Measure what was made, and choose the best.

    Args:
        entrants: In the order of their routes; not empty, all verified.
        best: What counts.
        goal: Format id.
        shared: What all goals of the run have in common.
    """
    latencies = _measure(entrants, goal, shared)
    found = [
        Candidate(
            route=entrant.plan.route,
            size_bytes=measure_size(entrant.made.material.path),
            latency_seconds=latency,
            error=worst_error(entrant.made.verdict),
        )
        for entrant, latency in zip(entrants, latencies, strict=True)
    ]
    return choose_best(found, best)


def choose_best(found: Sequence[Candidate], best: Criterion) -> list[Candidate]:
    """The same with the best one chosen: the first of those that no measurement tells apart, which says so."""
    ranks = [candidate.rank(best) for candidate in found]
    slack = _SAME_LATENCY if best == "latency" else 1.0
    chosen = next(i for i, rank in enumerate(ranks) if rank <= slack * min(ranks))
    reason = ""
    if ranks[chosen] > min(ranks):
        over, same = ranks[chosen] / min(ranks) - 1, _SAME_LATENCY - 1
        reason = f"{over:.1%} above the shortest: within {same:.0%} the first route is kept"
    return [each.chosen(reason) if i == chosen else each for i, each in enumerate(found)]


def worst_error(verdict: Verdict) -> float:
    """The largest error of any output over what it may be."""
    return max(
        (
            output.max_abs_error / (output.tolerance or 1.0)
            if math.isfinite(output.max_abs_error)
            else math.inf
            for output in verdict.outputs
        ),
        default=0.0,
    )


def _measure(
    entrants: Sequence[Entrant], goal: str, shared: Shared
) -> Sequence[float] | Sequence[None]:
    """Median latencies; None of each where they cannot be measured, which the records tell."""
    steps, verifier = shared.steps, shared.verifiers[goal]
    step = Step(id=f"measure/{goal}", kind="measure", converter="measure", source=goal, target=goal)
    folder = steps.new_folder("measure")
    artifacts = {
        f"{CANDIDATE}{index}": each.made.material.path for index, each in enumerate(entrants)
    }
    job = Job(
        name=shared.request.name,
        inputs={**artifacts, "reference": shared.captured.reference.path},
        output=folder / "none",
        options={"format": goal},
        seed=shared.request.seed,
    )
    task = Task(
        title=f"the measurement of '{goal}'",
        entry=_ENTRY,
        request=job.to_json(),
        timeout_seconds=shared.request.timeout_seconds,
        memory_limit_bytes=shared.request.memory_limit_bytes,
    )
    with steps.recorded(step) as aside:
        aside.reply = steps.runner.run(Lane(name=verifier.lane), task)
        aside.details = JobResult.from_json(aside.reply.unwrap()).details
        return cast("list[float]", aside.details["latencies_seconds"])
    return [None] * len(entrants)
