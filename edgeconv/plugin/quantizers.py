"""All quantizers there are, found as converters are: through entry points, late, and no broken one stops anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint

from edgeconv.errors import UsageError
from edgeconv.formats import FORMATS
from edgeconv.plugin.entry_points import (
    PluginProblem,
    collect,
    find_entry_points,
    refuse_twin,
)
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.plugin.registry import is_installed

__all__ = ["QUANTIZERS", "QuantizerRegistry", "missing_modules_of"]

QUANTIZERS = "edgeconv.quantizers"
"""Quantizers: an entry point names a `QuantizerSpec`, or several of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    spec: QuantizerSpec
    origin: str
    distribution: str


class QuantizerRegistry:
    """Quantizers by id.

    Args:
        plugins: Entry points to load; those of the group `edgeconv.quantizers` unless given.
        allowed: Names of entry points or distributions that may be loaded beside edgeconv's own; None for all.
    """

    def __init__(
        self,
        *,
        plugins: Sequence[EntryPoint] | None = None,
        allowed: frozenset[str] | None = None,
    ) -> None:
        self._plugins = plugins
        self._allowed = allowed

    @property
    def quantizers(self) -> tuple[QuantizerSpec, ...]:
        """All usable quantizers: edgeconv's own first, then the others by their entry points."""
        return tuple(found.spec for found in self._content[0].values())

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """Plug-ins that could not be loaded, or were refused."""
        return self._content[1]

    def distribution(self, quantizer_id: str) -> str:
        """The package that brought a quantizer; empty if it was given directly."""
        return self._content[0][quantizer_id].distribution

    def find(self, format_id: str, recipe: str | None) -> QuantizerSpec:
        """The quantizer for a format: the first that knows the recipe, one that can be used here before others.

        Args:
            format_id: Of the artifact.
            recipe: Its name; None where any will do.

        Raises:
            UsageError: No quantizer takes the format, or none of them knows the recipe.
        """
        fitting = [spec for spec in self.quantizers if spec.format == format_id]
        if not fitting:
            raise self._no_quantizer(format_id)
        able = [spec for spec in fitting if recipe is None or recipe in spec.recipes]
        if not able:
            known = dict.fromkeys(name for spec in fitting for name in spec.recipes)
            raise UsageError(
                f"there is no recipe '{recipe}' for '{format_id}'",
                why=f"'{fitting[0].id}' has no such precision",
                hint="use one of: " + ", ".join(known),
            )
        return min(able, key=lambda spec: bool(missing_modules_of(spec)))

    def _no_quantizer(self, format_id: str) -> UsageError:
        formats = sorted({spec.format for spec in self.quantizers})
        return UsageError(
            f"'{format_id}' artifacts cannot be quantized",
            why="no quantizer takes this format",
            hint=f"give an artifact of {' or '.join(formats)}, such as 'edgeconv convert' makes",
            details=[f"{problem.plugin}: {problem.reason}" for problem in self.problems],
        )

    @cached_property
    def _content(self) -> tuple[dict[str, _Found], tuple[PluginProblem, ...]]:
        found: dict[str, _Found] = {}

        def take(specs: Iterable[QuantizerSpec], origin: str, distribution: str) -> None:
            for spec in specs:
                _check(spec, found.get(spec.id), origin)
                found[spec.id] = _Found(spec=spec, origin=origin, distribution=distribution)

        points = find_entry_points(QUANTIZERS, self._allowed, self._plugins)
        problems = collect(points, QuantizerSpec, take)
        return found, problems


def missing_modules_of(spec: QuantizerSpec) -> tuple[str, ...]:
    """Import names that a quantizer requires and the host does not have; nothing is imported to find out."""
    return tuple(name for name in spec.requires if not is_installed(name))


def _check(spec: QuantizerSpec, other: _Found | None, origin: str) -> None:
    if other is not None:
        raise refuse_twin(f"quantizer '{spec.id}'", other.origin, origin)
    known = {known.id for known in FORMATS}
    if spec.format not in known:
        raise UsageError(
            f"quantizer '{spec.id}' cannot be used",
            why=f"there is no format '{spec.format}'",
            hint="formats: " + ", ".join(sorted(known)),
        )
