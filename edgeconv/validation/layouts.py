"""Runs an artifact whose images have another layout than the model's: they are turned on the way in and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeconv.formats.handler import Session
from edgeconv.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["LayoutBridge"]

_Turn = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutBridge:
    """Between the model's signature and an artifact's.

    Attributes:
        expected: The model's signature with its images as the artifact has them.
        inputs: The permutation of each input that is turned, from the model's layout to the artifact's.
        outputs: The permutation of each output that is turned, from the artifact's layout to the model's.
    """

    expected: Signature
    inputs: Mapping[str, _Turn]
    outputs: Mapping[str, _Turn]

    @staticmethod
    def between(model: Signature, artifact: Signature) -> LayoutBridge:
        """What has to be turned; nothing where an image's layout is not known."""
        taken, given = _pair(model.inputs, artifact.inputs), _pair(model.outputs, artifact.outputs)
        return LayoutBridge(
            expected=replace(
                model,
                inputs=_as_in_artifact(model.inputs, taken),
                outputs=_as_in_artifact(model.outputs, given),
            ),
            inputs=_turns((mine, other) for mine, other in taken.values()),
            outputs=_turns((other, mine) for mine, other in given.values()),
        )

    def run(self, session: Session, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The artifact's outputs for inputs in the model's layout, in the model's layout."""
        turned = {name: _turn(array, self.inputs.get(name)) for name, array in inputs.items()}
        outputs = session.run(turned).outputs
        return {name: _turn(array, self.outputs.get(name)) for name, array in outputs.items()}


_Pairs = Mapping[str, tuple[TensorSpec, TensorSpec]]


def _pair(mine: Sequence[TensorSpec], others: Sequence[TensorSpec]) -> _Pairs:
    by_name = {spec.name: spec for spec in others}
    return {spec.name: (spec, by_name[spec.name]) for spec in mine if spec.name in by_name}


def _as_in_artifact(specs: Sequence[TensorSpec], pairs: _Pairs) -> tuple[TensorSpec, ...]:
    found = ((spec, pairs.get(spec.name)) for spec in specs)
    return tuple(spec if pair is None else spec.in_layout(pair[1].layout) for spec, pair in found)


def _turns(pairs: Iterable[tuple[TensorSpec, TensorSpec]]) -> dict[str, _Turn]:
    """The permutation from the first to the second of each pair, by name, where there is one."""
    found = {
        start.name: start.layout.permutation_to(end.layout, len(start.shape))
        for start, end in pairs
    }
    return {name: turn for name, turn in found.items() if turn is not None}


def _turn(array: Array, turn: _Turn | None) -> Array:
    import numpy as np

    if turn is None or array.ndim != len(turn):
        return array  # of another rank than it should be: told where shapes are compared
    return np.ascontiguousarray(array.transpose(turn))
