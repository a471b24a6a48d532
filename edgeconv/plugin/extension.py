"""What plug-ins bring beside converters: found in the host by name, loaded in the workers that use it.

An extension adds to a converter that is there, such as lowerings to the lowering. The converter names the entry-point
group that it takes; the host finds what is installed, without importing any of it, and hands it over in the job.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from edgeconv.plugin.job import Job, Json

__all__ = [
    "LOWERINGS",
    "ONNX_TRANSLATIONS",
    "PLUGIN_OPERATORS",
    "Extension",
    "find_extensions",
    "load_extensions",
]

LOWERINGS = "edgeconv.lowerings"
"""Lowerings of operators: an entry point names a `Lowering`, several of them, or a module that holds some."""

ONNX_TRANSLATIONS = "edgeconv.onnx_translations"
"""Translations to ONNX: an entry point names a mapping from operators to functions of onnxscript."""

PLUGIN_OPERATORS = "plugin_operators"
"""Under this the details of a converter's result tell which operators of the model plug-ins translated, and whose they are:
where an artifact computes something else, these are what users must hear of.
"""

_OPTION = "extensions"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One entry point.

    Attributes:
        name: Of the entry point.
        value: `module` or `module:attribute`.
        distribution: The package that brings it.
        version: Of the package.
        folder: Where the package is installed, for workers that look elsewhere.
    """

    name: str
    value: str
    distribution: str
    version: str
    folder: str

    def to_json(self) -> dict[str, Json]:
        """The extension as JSON data."""
        return cast("dict[str, Json]", asdict(self))

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"'{self.name}' of '{self.distribution}'"


def find_extensions(
    group: str, is_allowed: Callable[[EntryPoint], bool] = lambda _: True
) -> tuple[Extension, ...]:
    """What is installed, by package and name; nothing is imported.

    Args:
        group: The entry-point group.
        is_allowed: Whether an entry point may be loaded.
    """
    found = [
        Extension(
            name=point.name,
            value=point.value,
            distribution=point.dist.name,
            version=point.dist.version,
            folder=str(point.dist.locate_file("")),
        )
        for point in entry_points(group=group)
        if point.dist is not None and is_allowed(point)
    ]
    return tuple(sorted(found, key=lambda item: (item.distribution, item.name)))


def load_extensions(job: Job) -> tuple[list[tuple[str, object]], list[str]]:
    """Import what a job names, in a worker.

    Returns:
        What the entry points name, each with its title, and a warning for each that cannot be loaded: models that do
        not need it are converted all the same.
    """
    loaded: list[tuple[str, object]] = []
    problems: list[str] = []
    for item in cast("list[dict[str, str]]", job.options.get(_OPTION) or []):
        extension = Extension(**item)
        if extension.folder not in sys.path:
            sys.path.append(extension.folder)
        point = EntryPoint(name=extension.name, value=extension.value, group=_OPTION)
        try:
            loaded.append((extension.title, point.load()))
        except Exception as error:  # a stranger's module may raise anything when imported
            _logger.debug("extension %s is broken", extension.title, exc_info=True)
            problems.append(
                f"plug-in {extension.title} is left out: {type(error).__name__}: {error}"
            )
    return loaded, problems
