"""Where the dims of a graph are read when a model runs: from the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeconv.dims import DimExpr, Size
from edgeconv.graph.model import Tensor

__all__ = ["Reading", "find_readings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where a dim is read: the size of axis `axis` of input `index` is `factor * dim + offset`."""

    index: int
    axis: int
    factor: int = 1
    offset: int = 0


def find_readings(inputs: Sequence[Tensor]) -> dict[str, Reading]:
    """One reading for every dim that some input's shape gives; a size that is the dim itself is preferred."""
    readings: dict[str, Reading] = {}
    for index, tensor in enumerate(inputs):
        for axis, size in enumerate(tensor.shape):
            linear = _solve(size)
            if linear is None:
                continue
            name, factor, offset = linear
            reading = Reading(index=index, axis=axis, factor=factor, offset=offset)
            known = readings.get(name)
            if known is None or (not _is_plain(known) and _is_plain(reading)):
                readings[name] = reading
    return readings


def _is_plain(reading: Reading) -> bool:
    return (reading.factor, reading.offset) == (1, 0)


def _solve(size: Size) -> tuple[str, int, int] | None:
    """Name, factor and offset of a size that is linear in one dim."""
    if not isinstance(size, DimExpr):
        return None
    terms = dict(size.terms)
    offset = terms.pop((), 0)
    if len(terms) != 1:
        return None
    ((monomial, factor),) = terms.items()
    if len(monomial) != 1 or not isinstance(monomial[0], str):
        return None
    return monomial[0], factor, offset
