"""What planning gives: routes with their cost, and the edges that are out with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.plugin.converter import ConverterSpec

__all__ = ["Node", "Plan", "Rejected", "RouteCost", "Search"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Node:
    """A state of the model between two converters.

    Formats are not all of it: quantizing changes the precision and keeps the format, and further properties
    that converters change (such as the layout) are further fields here.
    """

    format: str
    precision: str = "float32"

    def after(self, spec: ConverterSpec) -> Node:
        """The state that a converter leads to."""
        return Node(format=spec.target, precision=self.precision)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RouteCost:
    """What a route costs, compared field by field; the ids break ties, so that plans are stable."""

    fidelity: int = 0
    hops: int = 0
    install_bytes: int = 0
    seconds: float = 0.0
    ids: tuple[str, ...] = ()

    def plus(self, spec: ConverterSpec) -> RouteCost:
        """The cost with one more step."""
        return RouteCost(
            fidelity=self.fidelity + spec.cost.fidelity,
            hops=self.hops + 1,
            install_bytes=self.install_bytes + spec.cost.install_bytes,
            seconds=self.seconds + spec.cost.seconds,
            ids=(*self.ids, spec.id),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An edge that no route may take, and why.

    Attributes:
        converter: Its id.
        reason: For people.
        missing: Import names that would have to be installed; empty for all other reasons.
        extra: The extra of edgeconv that installs them.
    """

    converter: str
    reason: str
    missing: tuple[str, ...] = ()
    extra: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One route.

    Attributes:
        source: Where it starts.
        goal: Format id it reaches.
        steps: The converters in order; empty when the source already is the goal.
        cost: What it was ranked by.
        rejected: The edges that were out when it was found.
    """

    source: Node
    goal: str
    steps: tuple[ConverterSpec, ...]
    cost: RouteCost
    rejected: tuple[Rejected, ...] = ()

    @property
    def route(self) -> tuple[str, ...]:
        """Ids of the converters, in order."""
        return self.cost.ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What restricts the routes.

    Attributes:
        via: Converters or formats that a route must pass.
        avoid: Converters or formats that no route may pass; the goal itself may be named a format to avoid
            only by mistake, and leaves no route.
        lost: Converters that failed for this model, with the reason.
        kinds: Kinds of converters that were asked for.
        environments: Ids of environments that exist.
    """

    via: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    lost: tuple[Rejected, ...] = ()
    kinds: tuple[str, ...] = ("convert",)
    environments: tuple[str, ...] = ()
