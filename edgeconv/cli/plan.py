"""`edgeconv plan`: the routes from a model to a format, best first; runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from edgeconv.cli.convert import Avoid, To, Via
from edgeconv.cli.options import AsJson, Model, Quiet, Verbose, split_ids
from edgeconv.cli.screen import Screen
from edgeconv.errors import EdgeconvError
from edgeconv.plan.explain import explain, explain_text, ignored_via
from edgeconv.plan.plan import Plan, Rejected, Search
from edgeconv.plan.planner import Planner
from edgeconv.plugin.registry import Registry

__all__ = ["plan"]

Explain = Annotated[bool, typer.Option("--explain", help="Say why other converters are out.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What planning found for one format."""

    goal: str
    plans: tuple[Plan, ...]
    rejected: tuple[Rejected, ...]
    error: EdgeconvError | None


def plan(
    model: Model,
    *,
    to: To = None,
    via: Via = None,
    avoid: Avoid = None,
    explain: Explain = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Show the routes to a format in the order they would be tried; nothing is run."""
    from edgeconv.cli.failure import tell_error
    from edgeconv.conversion import DEFAULT_GOALS, source_format
    from edgeconv.settings import load_settings
    from edgeconv.source import parse_model

    source = source_format(parse_model(model))
    planner = Planner(Registry(allowed=load_settings().plugins).converters)
    search = Search(via=split_ids(via), avoid=split_ids(avoid))
    goals = split_ids(to) or DEFAULT_GOALS
    searches = planner.restrict(source, goals, search)
    found = [_find(planner, source, goal, searches[goal]) for goal in goals]
    ignored = ignored_via(search.via, searches)
    data = {
        "model": model,
        "source": source,
        "goals": [_describe(item) for item in found],
        "ignored": ignored,
    }
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    screen.show(data, "\n\n".join(_tell(item, is_explained=explain) for item in found))
    for line in ignored:
        screen.note(f"warning: {line}")
    errors = [item.error for item in found if item.error]
    for error in errors:
        tell_error(error, Screen(is_verbose=verbose))
    return errors[0].exit_status if errors else 0


def _find(planner: Planner, source: str, goal: str, search: Search) -> _Found:
    plans = planner.routes(source, goal, search)
    return _Found(
        goal=goal,
        plans=plans,
        rejected=planner.rejected(search),
        error=None if plans else planner.no_route(source, goal, search),
    )


def _describe(found: _Found) -> dict[str, object]:
    error = found.error.to_json() if found.error else None
    return {"format": found.goal, **explain(found.plans, found.rejected), "error": error}


def _tell(found: _Found, *, is_explained: bool) -> str:
    rejected = found.rejected if is_explained else ()
    lines = explain_text(found.plans, rejected).splitlines()
    if is_explained and not rejected:
        lines.append("no converter is out")
    return "\n".join([f"{found.goal}:", *(f"  {line}" for line in lines)])
