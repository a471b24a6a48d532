"""Finds what plug-ins declare: ours first, only what is allowed, and a broken one is a problem and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from edgeconv.errors import EdgeconvError, UsageError

__all__ = [
    "PluginProblem",
    "collect",
    "distribution_of",
    "find_entry_points",
    "is_allowed",
    "refuse_twin",
]

_OURS = "edgeconv"
_logger = logging.getLogger(__name__)
_Spec = TypeVar("_Spec")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginProblem:
    """A plugin that is not available, and why."""

    plugin: str
    reason: str


def find_entry_points(
    group: str,
    allowed: frozenset[str] | None,
    points: Sequence[EntryPoint] | None = None,
) -> list[EntryPoint]:
    """The entry points of a group that may be loaded, in the order in which they are; nothing is imported.

    Args:
        group: The group.
        allowed: Names of entry points or distributions that may be loaded beside edgeconv's own; None for all.
        points: These, instead of those that are installed.
    """
    found = entry_points(group=group) if points is None else points
    # Ours first, so that a stranger's plugin cannot take the id of one of ours.
    ordered = sorted(found, key=lambda point: (not _is_ours(point), _title(point)))
    return [point for point in ordered if is_allowed(point, allowed)]


def is_allowed(point: EntryPoint, allowed: frozenset[str] | None) -> bool:
    """Whether an entry point may be loaded: edgeconv's own always, others if they are on the list or there is none."""
    if allowed is None or _is_ours(point):
        return True
    return bool({point.name, distribution_of(point)} & allowed)


def collect(
    points: Iterable[EntryPoint],
    kind: type[_Spec],
    take: Callable[[tuple[_Spec, ...], str, str], object],
) -> tuple[PluginProblem, ...]:
    """Load entry points, each of which names a spec or several.

    Args:
        points: What to load.
        kind: Of spec.
        take: Receives the specs of an entry point, what messages call it, and its distribution; may refuse them.

    Returns:
        What could not be loaded or was refused.
    """
    problems: list[PluginProblem] = []
    for point in points:
        origin = _title(point)
        try:
            take(_load(point, kind), origin, distribution_of(point))
        except EdgeconvError as error:
            problems.append(PluginProblem(plugin=origin, reason=str(error)))
        except Exception as error:  # a stranger's module may raise anything when imported
            _logger.debug("plugin %s is broken", origin, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            problems.append(PluginProblem(plugin=origin, reason=reason))
    return tuple(problems)


def refuse_twin(what: str, first: str, second: str) -> UsageError:
    """The error for two plug-ins that bring the same."""
    return UsageError(
        f"{what} exists twice",
        why=f"{first} and {second} both bring it",
        hint="uninstall one of them, or name the plugins to load in EDGECONV_PLUGINS",
    )


def distribution_of(point: EntryPoint) -> str:
    """The package that brings an entry point; empty if it was given directly."""
    return point.dist.name if point.dist else ""


def _load(point: EntryPoint, kind: type[_Spec]) -> tuple[_Spec, ...]:
    loaded = point.load()
    specs = tuple(loaded) if isinstance(loaded, tuple | list) else (loaded,)
    for spec in specs:
        if not isinstance(spec, kind):
            raise UsageError(
                f"'{point.value}' is no {kind.__name__.removesuffix('Spec').lower()}",
                why=f"it is {type(spec).__name__}, not {kind.__name__} or a tuple of them",
            )
    return specs


def _is_ours(point: EntryPoint) -> bool:
    return distribution_of(point) == _OURS


def _title(point: EntryPoint) -> str:
    owner = distribution_of(point)
    return f"'{point.name}' of '{owner}'" if owner else f"'{point.name}'"
