"""All converters there are: those that come with edgeconv and everyone's, found through entry points.

Nothing is imported until somebody asks, and only the light package of a plugin then, never its worker. A plugin
that cannot be loaded is kept as a problem with its reason and does not stop anything.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint

from edgeconv.errors import EdgeconvError, MissingDependencyError, UsageError
from edgeconv.formats import FORMATS
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.entry_points import (
    PluginProblem,
    collect,
    find_entry_points,
    is_allowed,
    refuse_twin,
)
from edgeconv.plugin.extension import Extension, find_extensions

__all__ = ["GROUP", "PluginProblem", "Registry", "install_hint", "missing_modules"]

GROUP = "edgeconv.converters"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    spec: ConverterSpec
    origin: str
    distribution: str = ""


class Registry:
    """Converters by id.

    Args:
        converters: Specs given directly instead of being found.
        plugins: Entry points to load; those of the group `edgeconv.converters` unless given.
        allowed: Names of entry points or distributions that may be loaded beside edgeconv's own; None for all.

    Raises:
        UsageError: Two of `converters` have the same id, or one is not usable.
    """

    def __init__(
        self,
        converters: Iterable[ConverterSpec] = (),
        *,
        plugins: Sequence[EntryPoint] | None = None,
        allowed: frozenset[str] | None = None,
    ) -> None:
        self._given = tuple(converters)
        self._plugins = plugins
        self._allowed = allowed
        for found in _merge({}, self._given, "the caller"):
            _logger.debug("converter '%s' was given", found)

    @property
    def converters(self) -> tuple[ConverterSpec, ...]:
        """All usable converters, by id."""
        found, _ = self._content
        return tuple(found[key].spec for key in sorted(found))

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """Plugins that could not be loaded, or were refused."""
        return self._content[1]

    @property
    def extensions(self) -> dict[str, tuple[Extension, ...]]:
        """What plug-ins add to the converters, by entry-point group; nothing is imported."""
        if self._given and self._plugins is None:
            return {}
        groups = sorted({spec.extensions for spec in self.converters if spec.extensions})
        return {
            group: find_extensions(group, lambda point: is_allowed(point, self._allowed))
            for group in groups
        }

    def find(self, converter_id: str) -> ConverterSpec:
        """The converter with this id.

        Raises:
            UsageError: There is none; the error lists what there is.
        """
        for spec in self.converters:
            if spec.id == converter_id:
                return spec
        raise UsageError(
            f"unknown converter '{converter_id}'",
            why="no plugin has this id",
            hint="use one of: " + ", ".join(spec.id for spec in self.converters),
            details=[f"'{problem.plugin}': {problem.reason}" for problem in self.problems],
        )

    def origin(self, converter_id: str) -> str:
        """The plugin that brought a converter, for `edgeconv plugins`."""
        self.find(converter_id)
        return self._content[0][converter_id].origin

    def distribution(self, converter_id: str) -> str:
        """The package that brought a converter; empty if it was given directly."""
        self.find(converter_id)
        return self._content[0][converter_id].distribution

    @cached_property
    def _content(self) -> tuple[dict[str, _Found], tuple[PluginProblem, ...]]:
        found: dict[str, _Found] = {}
        _merge(found, self._given, "the caller")
        if self._given and self._plugins is None:
            return found, ()

        def take(specs: Iterable[ConverterSpec], origin: str, distribution: str) -> None:
            _merge(found, specs, origin, distribution)

        points = find_entry_points(GROUP, self._allowed, self._plugins)
        problems = collect(points, ConverterSpec, take)
        return found, problems


def missing_modules(spec: ConverterSpec) -> tuple[str, ...]:
    """Import names that a converter requires and the host does not have; nothing is imported to find out."""
    if spec.environment is not None:
        return ()
    return tuple(name for name in spec.requires if not is_installed(name))


def is_installed(module: str) -> bool:
    """Whether a module can be imported, as far as can be told without importing anything.

    Of `package.module` only the package is looked for: to look inside would import it.
    """
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def install_hint(extras: Iterable[str]) -> str:
    """The command that installs some extras of edgeconv, each of them one or several with commas between."""
    names = sorted({name for extra in extras for name in extra.split(",") if name})
    return f"pip install 'edgeconv[{','.join(names)}]'" if names else ""


def missing_dependency(what: str, modules: Iterable[str], extras: Iterable[str]) -> EdgeconvError:
    """The error for something that cannot work because packages are not installed."""
    names = ", ".join(f"'{name}'" for name in sorted(set(modules)))
    return MissingDependencyError(
        f"{what} needs packages that are not installed",
        why=f"missing: {names}",
        hint=install_hint(extras) or f"install {names}",
    )


def _merge(
    found: dict[str, _Found], specs: Iterable[ConverterSpec], origin: str, distribution: str = ""
) -> dict[str, _Found]:
    known = {known.id for known in FORMATS}
    for spec in specs:
        other = found.get(spec.id)
        if other is not None:
            raise refuse_twin(f"converter '{spec.id}'", other.origin, origin)
        unknown = {spec.source, spec.target} - known
        if unknown:
            raise UsageError(
                f"converter '{spec.id}' cannot be used",
                why=f"there is no format '{min(unknown)}'",
                hint="formats: " + ", ".join(sorted(known)),
            )
        found[spec.id] = _Found(spec=spec, origin=origin, distribution=distribution)
    return found
