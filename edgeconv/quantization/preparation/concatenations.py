"""Finds concatenations whose parts have ranges too different to share one scale, such as boxes and scores of a detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgeconv.plugin.quantizer import Dependence, FloatModel, Operator, Range

__all__ = ["MAX_RATIO", "find_mixed_outputs"]

MAX_RATIO = 8.0
"""Parts whose ranges are further apart than this lose three of eight bits."""


def find_mixed_outputs(model: FloatModel, ranges: Mapping[str, Range]) -> Iterator[Operator]:
    """Concatenations on the way to an output, with all that follows them there, whose parts' ranges are far apart.

    Left in float, each part keeps a scale of its own up to there. One that is read by further layers is not found: what
    reads it would need one scale again.
    """
    readers: dict[str, list[Operator]] = {}
    for operator in model.operators:
        for name in operator.inputs:
            readers.setdefault(name, []).append(operator)
    for operator in model.operators:
        if operator.dependence is not Dependence.CONCATENATION:
            continue
        parts = [ranges[name].largest for name in operator.inputs if name in ranges]
        parts = [part for part in parts if part > 0]
        followers = _until_outputs(operator, readers)
        if len(parts) > 1 and max(parts) / min(parts) > MAX_RATIO and followers is not None:
            yield operator
            yield from followers


def _until_outputs(
    operator: Operator, readers: Mapping[str, list[Operator]]
) -> list[Operator] | None:
    """What follows up to the outputs, if it is only changes of shape."""
    found: list[Operator] = []
    for reader in readers.get(operator.outputs[0], []):
        if reader.dependence is not Dependence.SHAPE:
            return None
        further = _until_outputs(reader, readers)
        if further is None:
            return None
        found += [reader, *further]
    return found
