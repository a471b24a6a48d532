"""How a converter declares itself: light data that the planner reads without importing any framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgeconv.artifact import Artifact

__all__ = ["ConverterSpec", "Cost", "EnvironmentSpec", "Rejection"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cost:
    """What taking an edge costs, compared field by field.

    Attributes:
        fidelity: How far the result may be from the source: 0 for a direct translation of operators, 1 for
            a translation through another tool's intermediate form, 2 for a lossy or guessing one.
        install_bytes: Size of what must be installed beyond the base package.
        seconds: Typical time on a MobileNetV2-sized model.
    """

    fidelity: int
    install_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """An interpreter with packages of its own, for a tool that cannot share the host's."""

    id: str
    python: str
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a converter does not take an artifact."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterSpec:
    """One edge of the conversion graph.

    Attributes:
        id: The tool's name, unique among all converters.
        version: Version of this converter's code; part of the cache key.
        kind: `convert` changes the format; `quantize` and `optimize` keep it.
        source: Format id it reads.
        target: Format id it writes.
        summary: One line for `edgeconv plugins`.
        entry: `module:function`, called in a worker as `function(request, context)` with the JSON of a `Job` and
            a dictionary that lasts as long as the process; returns the JSON of a `JobResult`.
        lane: Steps of one lane share one worker process, so that its framework is imported once.
        warm: Modules the worker imports while earlier steps still run.
        requires: Import names that must be installed.
        extra: The extra of edgeconv that installs them, or several with commas between.
        environment: None for the host's own interpreter and packages.
        cost: Compared when routes are ranked.
        extensions: Entry-point group of what plug-ins may add to it: the worker is told of all there is, and loads it with
            `edgeconv.plugin.extension.load_extensions`; empty if nothing can be added.
        takes_live: Whether it reads a captured program from memory with `edgeconv.plugin.live.find_live`: it then runs
            in the process that captured the program, which need not be written to a file for it.
        accepts: Looks at an artifact and says why it cannot be taken, or None; must be light.
    """

    id: str
    version: str
    kind: Literal["convert", "quantize", "optimize"]
    source: str
    target: str
    summary: str
    entry: str
    lane: str
    cost: Cost
    warm: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extra: str = ""
    environment: EnvironmentSpec | None = None
    extensions: str = ""
    takes_live: bool = False
    accepts: Callable[[Artifact], Rejection | None] | None = None
