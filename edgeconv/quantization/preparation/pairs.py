"""Finds operators whose channels can be scaled against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from edgeconv.plugin.quantizer import Dependence, FloatModel, Operator

__all__ = ["Pair", "find_pairs", "shared_constants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two operators with weights and, between them, nothing but what a positive factor per channel passes through.

    Attributes:
        first: Makes the channels.
        second: Reads them; the only one that does.
        between: The activation that the second reads.
    """

    first: Operator
    second: Operator
    between: str


def find_pairs(model: FloatModel) -> Iterator[Pair]:
    """All pairs of a model, in the order in which it runs."""
    readers: dict[str, list[Operator]] = {}
    for operator in model.operators:
        for name in operator.inputs:
            readers.setdefault(name, []).append(operator)
    shared, outputs = shared_constants(model), set(_outputs_of(model))
    for first in model.operators:
        found = _follow(first, readers, outputs) if _is_scalable(first, shared) else None
        if found is None:
            continue
        second, between = found
        weights = second.weights
        if weights is None or weights.is_grouped or weights.tensor in shared:
            continue
        if _channels_in(model, second) == _channels_out(model, first):
            yield Pair(first=first, second=second, between=between)


def _is_scalable(operator: Operator, shared: set[str]) -> bool:
    """Whether an operator's output channels can be scaled by its weights and its bias."""
    weights = operator.weights
    if weights is None or not weights.is_linear or weights.is_grouped:
        return False
    return not {weights.tensor, weights.bias} & shared


def _outputs_of(model: FloatModel) -> Iterator[str]:
    """Activations that nobody may scale: those that leave the model, however they are named there."""
    read = {name for operator in model.operators for name in operator.inputs}
    for operator in model.operators:
        for name in operator.outputs:
            if name not in read:
                yield name
    yield from (spec.name for spec in model.signature.outputs)


def _follow(
    operator: Operator, readers: dict[str, list[Operator]], outputs: set[str]
) -> tuple[Operator, str] | None:
    """The operator with weights that reads the channels at last, and what it reads."""
    current = operator
    while True:
        name = current.outputs[0]
        following = readers.get(name, [])
        if len(current.outputs) != 1 or name in outputs or len(following) != 1:
            return None
        reader = following[0]
        if reader.inputs[0] != name or name in reader.inputs[1:]:
            return None
        if reader.weights is not None:
            return reader, name
        if not _passes(reader):
            return None
        current = reader


def _passes(operator: Operator) -> bool:
    """Whether a positive factor per channel passes through.

    Of what changes the shape only what drops or joins axes does: where the channels went in a transposition is not told.
    """
    if operator.dependence is Dependence.HOMOGENEOUS:
        return True
    name = operator.code.upper()
    is_order_kept = any(part in name for part in ("RESHAPE", "SQUEEZE", "FLATTEN"))
    return operator.dependence is Dependence.SHAPE and is_order_kept


def shared_constants(model: FloatModel) -> set[str]:
    """Weights and biases that several operators read."""
    counts = Counter(name for operator in model.operators for name in set(operator.inputs))
    return {name for name, count in counts.items() if name and count > 1}


def _channels_out(model: FloatModel, operator: Operator) -> int:
    weights = operator.weights
    value = None if weights is None else model.constant(weights.tensor)
    return -1 if weights is None or value is None else int(value.shape[weights.output_axis])


def _channels_in(model: FloatModel, operator: Operator) -> int:
    weights = operator.weights
    value = None if weights is None else model.constant(weights.tensor)
    if weights is None or value is None:
        return -2
    if weights.input_axis is None:
        return int(value.shape[weights.output_axis]) // weights.multiplier
    return int(value.shape[weights.input_axis])
