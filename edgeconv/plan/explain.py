"""Tells a person, or a program, which routes there are, in which order, and why other edges are out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.errors import counted
from edgeconv.plan.plan import Plan, Rejected, Search
from edgeconv.plugin.job import Json

__all__ = ["explain", "explain_text", "ignored_via"]

# What `Cost.fidelity` means, for people: a route's is the sum over its steps.
_FIDELITIES = {0: "direct", 1: "through another tool"}


def explain(plans: Sequence[Plan], rejected: Sequence[Rejected]) -> dict[str, Json]:
    """Routes in order and what is out, as JSON data."""
    return {
        "routes": [_route_data(plan) for plan in plans],
        "rejected": [{"converter": item.converter, "reason": item.reason} for item in rejected],
    }


def explain_text(plans: Sequence[Plan], rejected: Sequence[Rejected]) -> str:
    """The same for people: two lines for each route, and one for each edge that is out."""
    lines = [line for rank, plan in enumerate(plans, start=1) for line in _route_lines(rank, plan)]
    lines = lines or ["no route"]
    if rejected:
        lines.append("out:")
        lines += [f"  {item.converter}: {item.reason}" for item in rejected]
    return "\n".join(lines)


def ignored_via(via: Sequence[str], searches: Mapping[str, Search]) -> list[str]:
    """A line for each id of `--via` that does not lead to all formats: the routes to the others need not pass it.

    Args:
        via: What was asked for.
        searches: What of it restricts the routes to each format: see `Planner.restrict`.
    """
    lines = []
    for item in dict.fromkeys(via):
        free = [goal for goal, search in searches.items() if item not in search.via]
        if free:
            names = ", ".join(f"'{goal}'" for goal in free)
            lines.append(f"--via {item} says nothing of {names}: it does not lead there")
    return lines


def _route_data(plan: Plan) -> Json:
    cost: Json = {
        "fidelity": plan.cost.fidelity,
        "hops": plan.cost.hops,
        "install_bytes": plan.cost.install_bytes,
        "seconds": plan.cost.seconds,
    }
    steps: list[Json] = [
        {"converter": spec.id, "source": spec.source, "target": spec.target} for spec in plan.steps
    ]
    return {"source": plan.source.format, "goal": plan.goal, "steps": steps, "cost": cost}


def _route_lines(rank: int, plan: Plan) -> tuple[str, str]:
    formats = [plan.source.format, *(spec.target for spec in plan.steps)]
    cost = plan.cost
    steps = counted(cost.hops, "step")
    needs = f", packages of {cost.install_bytes / 2**20:.0f} MiB" if cost.install_bytes else ""
    facts = f"{_FIDELITIES.get(cost.fidelity, 'lossy')}, {steps}{needs}, about {cost.seconds:.1f} s"
    return f"{rank}. {' → '.join(formats)}", f"   by {', '.join(plan.route)} ({facts})"
