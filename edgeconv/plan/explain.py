"""Tells a person, or a program, which routes there are, in which order, and why other edges are out."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.plan.plan import Plan, Rejected
from edgeconv.plugin.job import Json

__all__ = ["explain", "explain_text"]


def explain(plans: Sequence[Plan], rejected: Sequence[Rejected]) -> dict[str, Json]:
    """Routes in order and what is out, as JSON data."""
    return {
        "routes": [_route_data(plan) for plan in plans],
        "rejected": [{"converter": item.converter, "reason": item.reason} for item in rejected],
    }


def explain_text(plans: Sequence[Plan], rejected: Sequence[Rejected]) -> str:
    """The same for people: one line for each route and for each edge that is out."""
    lines = [_route_line(rank, plan) for rank, plan in enumerate(plans, start=1)] or ["no route"]
    if rejected:
        lines.append("out:")
        lines += [f"  {item.converter}: {item.reason}" for item in rejected]
    return "\n".join(lines)


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


def _route_line(rank: int, plan: Plan) -> str:
    chain = plan.source.format
    for spec in plan.steps:
        chain += f" —{spec.id}→ {spec.target}"
    cost = plan.cost
    install = f"{cost.install_bytes / 2**20:.0f} MiB" if cost.install_bytes else "nothing more"
    return (
        f"{rank}. {chain}  (fidelity {cost.fidelity}, {cost.hops} steps, "
        f"installs {install}, about {cost.seconds:.1f} s)"
    )
