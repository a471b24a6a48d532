"""Uniform-cost search for the best routes through the graph of converters.

Routes come out in the order of their cost because costs only grow along a route: what leaves the queue first
is the cheapest of all that remain (Dijkstra's argument, applied to whole loop-free routes instead of nodes, since
the second best route is wanted as well). The graph is small: tens of edges.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError, NoRouteError, UsageError
from edgeconv.formats import FORMATS, find_format
from edgeconv.plan.plan import Node, Plan, Rejected, RouteCost, Search
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.registry import install_hint, missing_dependency, missing_modules

__all__ = ["Planner"]

_SHOWN_REASONS = 12


class Planner:
    """Finds routes among some converters.

    Args:
        converters: All edges of the graph.
    """

    def __init__(self, converters: Iterable[ConverterSpec]) -> None:
        self.converters = tuple(sorted(converters, key=lambda spec: spec.id))
        self._missing = {spec.id: missing_modules(spec) for spec in self.converters}

    def routes(
        self,
        source: str,
        goal: str,
        search: Search | None = None,
        *,
        artifact: Artifact | None = None,
        count: int = 5,
    ) -> tuple[Plan, ...]:
        """The best loop-free routes, cheapest first; none if there is no way.

        Args:
            source: Format id to start from.
            goal: Format id to reach.
            search: What restricts the routes.
            artifact: What is at the source, so that converters can be asked whether they take it.
            count: How many at most.

        Raises:
            UsageError: A format or an id in `via` or `avoid` is unknown.
        """
        search = search or Search()
        self._check(source, goal, search)
        rejected = self.rejected(search, artifact=artifact)
        found = self._walk(source, goal, {item.converter for item in rejected})
        wanted = (plan for plan in found if _passes(plan, search.via))
        return tuple(replace(plan, rejected=rejected) for plan in islice(wanted, count))

    def best(self, source: str, goal: str, search: Search | None = None) -> Plan:
        """The cheapest route.

        Raises:
            NoRouteError: There is none; the details are the nearest reasons.
            MissingDependencyError: There would be one if packages were installed; the hint is the command.
        """
        search = search or Search()
        plans = self.routes(source, goal, search, count=1)
        if plans:
            return plans[0]
        raise self.no_route(source, goal, search)

    def rejected(self, search: Search, *, artifact: Artifact | None = None) -> tuple[Rejected, ...]:
        """The edges that are out, with the first reason of each."""
        lost = {item.converter: item for item in search.lost}
        found: list[Rejected] = []
        for spec in self.converters:
            item = lost.get(spec.id) or self._reject(spec, search, artifact)
            if item is not None:
                found.append(item)
        return tuple(found)

    def no_route(self, source: str, goal: str, search: Search) -> EdgeconvError:
        """The error for a goal that no route reaches: what is nearest to one decides what it says."""
        rejected = self.rejected(search)
        absent = {item.converter: item for item in rejected if item.missing}
        out = {item.converter for item in rejected} - absent.keys()
        wanted = (p for p in self._walk(source, goal, out) if _passes(p, search.via))
        nearest = next(wanted, None)
        if nearest is not None:
            items = [absent[spec.id] for spec in nearest.steps if spec.id in absent]
            modules = [name for item in items for name in item.missing]
            title = f"'{source}' → '{goal}' by {' → '.join(nearest.route)}"
            return missing_dependency(title, modules, [item.extra for item in items])
        return NoRouteError(
            f"no route from '{source}' to '{goal}'",
            why=self._why(source, rejected, search),
            hint=self._ways_from(source)
            or "see all edges with: edgeconv plan MODEL --to FORMAT --explain",
            details=self._nearest_reasons(goal, rejected),
        )

    def _why(self, source: str, rejected: tuple[Rejected, ...], search: Search) -> str:
        if search.via:
            return "no chain of converters passes " + ", ".join(f"'{item}'" for item in search.via)
        if not any(spec.source == source for spec in self.converters):
            return f"no converter takes '{source}'"
        return (
            "every chain of converters is out" if rejected else "no chain of converters leads there"
        )

    def _ways_from(self, source: str) -> str:
        """What can be converted, where nothing leads away from a format."""
        if any(spec.source == source for spec in self.converters):
            return ""
        titles = dict.fromkeys(find_format(spec.source).title for spec in self.converters)
        return f"give the model in another format: {', '.join(titles)}"

    def restrict(self, source: str, goals: Iterable[str], search: Search) -> dict[str, Search]:
        """What restricts the routes to each goal: an id in `via` only speaks of goals that it can lead to.

        Raises:
            UsageError: An id is unknown, leads to none of the goals, or is asked for and to be avoided.
        """
        for item in (*search.via, *search.avoid):
            self._check_id(item)
        goals = tuple(goals)
        _check_contradictions(goals, search)
        reached = {goal: [i for i in search.via if self._leads(source, i, goal)] for goal in goals}
        for item in search.via:
            if not any(item in via for via in reached.values()):
                raise UsageError(
                    f"no route passes '{item}'",
                    why=f"it does not lead from '{source}' to any format that was asked for",
                    hint="leave it out of --via",
                )
        return {goal: replace(search, via=tuple(via)) for goal, via in reached.items()}

    def _leads(self, source: str, item: str, goal: str) -> bool:
        return any(_passes(plan, (item,)) for plan in self._walk(source, goal, set()))

    def _walk(self, source: str, goal: str, out: set[str]) -> Iterator[Plan]:
        start = Node(format=source)
        queue: list[tuple[RouteCost, tuple[Node, ...], tuple[ConverterSpec, ...]]]
        queue = [(RouteCost(), (start,), ())]
        while queue:
            cost, nodes, steps = heapq.heappop(queue)
            if nodes[-1].format == goal:
                yield Plan(source=start, goal=goal, steps=steps, cost=cost)
                continue
            for spec in self.converters:
                node = nodes[-1].after(spec)
                if spec.id in out or spec.source != nodes[-1].format or node in nodes:
                    continue
                heapq.heappush(queue, (cost.plus(spec), (*nodes, node), (*steps, spec)))

    def _reject(
        self, spec: ConverterSpec, search: Search, artifact: Artifact | None
    ) -> Rejected | None:
        if spec.kind not in search.kinds:
            return Rejected(converter=spec.id, reason=f"it would {spec.kind}: not asked for")
        for item in (spec.id, spec.source, spec.target):
            if item in search.avoid:
                return Rejected(converter=spec.id, reason=f"'{item}' is to be avoided")
        missing = self._missing[spec.id]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            how = install_hint([spec.extra]) or f"install {names}"
            reason = f"{names} not installed: {how}"
            return Rejected(converter=spec.id, reason=reason, missing=missing, extra=spec.extra)
        if spec.environment and spec.environment.id not in search.environments:
            reason = f"environment '{spec.environment.id}' does not exist"
            return Rejected(converter=spec.id, reason=reason)
        return _ask(spec, artifact)

    def _check(self, source: str, goal: str, search: Search) -> None:
        find_format(source)
        find_format(goal)
        for item in (*search.via, *search.avoid):
            self._check_id(item)

    def _check_id(self, item: str) -> None:
        converters = [spec.id for spec in self.converters]
        formats = [known.id for known in FORMATS]
        if item in converters or item in formats:
            return
        close = get_close_matches(item.lower(), [*converters, *formats], n=1)
        meant = f"did you mean '{close[0]}'? " if close else ""
        raise UsageError(
            f"unknown converter or format '{item}'",
            why="--via and --avoid take ids of converters and formats",
            hint=f"{meant}converters: {', '.join(converters)}; formats: {', '.join(formats)}",
        )

    def _nearest_reasons(self, goal: str, rejected: tuple[Rejected, ...]) -> list[str]:
        """Reasons of the edges into the goal first: they are what the user would look for."""
        targets = {spec.id: spec.target for spec in self.converters}
        ordered = sorted(
            rejected, key=lambda item: (targets.get(item.converter) != goal, item.converter)
        )
        return [f"'{item.converter}': {item.reason}" for item in ordered[:_SHOWN_REASONS]]


def _check_contradictions(goals: Iterable[str], search: Search) -> None:
    for item in search.avoid:
        if item in search.via:
            raise UsageError(
                f"'{item}' is both to be passed and to be avoided",
                hint="leave it out of --via or of --avoid",
            )
        if item in goals:
            raise UsageError(
                f"'{item}' is both asked for and to be avoided",
                hint="leave it out of --to or of --avoid",
            )


def _ask(spec: ConverterSpec, artifact: Artifact | None) -> Rejected | None:
    if artifact is None or spec.accepts is None or artifact.format != spec.source:
        return None
    refusal = spec.accepts(artifact)
    return Rejected(converter=spec.id, reason=refusal.reason) if refusal else None


def _passes(plan: Plan, via: tuple[str, ...]) -> bool:
    formats = {spec.target for spec in plan.steps} | {plan.source.format}
    return all(item in formats or item in plan.route for item in via)
