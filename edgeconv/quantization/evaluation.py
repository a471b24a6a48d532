"""Runs artifacts on an evaluation set and measures what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.quantization.dataset import Dataset
from edgeconv.quantization.metrics.spec import Evaluated, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["Evaluation", "Run", "mean_snr_db", "snr_db"]

Run: TypeAlias = "Callable[[Mapping[str, Array]], Mapping[str, Array]]"
"""Outputs of a model by name, from inputs by name."""

_BATCH = 16
_MOST_DB = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Samples with what the float model makes of them.

    Attributes:
        dataset: Where the samples are.
        indices: Which of them.
        reference: The float model's outputs, of all samples.
        extras: What the data holds besides inputs.
        inputs: Of all samples, if they are compared with outputs.
    """

    dataset: Dataset
    indices: tuple[int, ...]
    reference: Mapping[str, Array]
    extras: Mapping[str, Array]
    inputs: Mapping[str, Array]

    @staticmethod
    def of(dataset: Dataset, indices: Sequence[int], run: Run, *, keeps_inputs: bool) -> Evaluation:
        """Run the float model on samples.

        Raises:
            InvalidInputError: A sample does not fit.
        """
        outputs: dict[str, list[Array]] = {}
        extras: dict[str, list[Array]] = {}
        inputs: dict[str, list[Array]] = {}
        for batch in dataset.read(indices, most=_BATCH):
            _collect(outputs, run(batch.inputs))
            _collect(extras, batch.extras)
            if keeps_inputs:
                _collect(inputs, batch.inputs)
        return Evaluation(
            dataset=dataset,
            indices=tuple(indices),
            reference=_join(outputs),
            extras=_join(extras),
            inputs=_join(inputs),
        )

    def run(self, run: Run) -> dict[str, Array]:
        """The outputs of another model for the same samples."""
        outputs: dict[str, list[Array]] = {}
        for batch in self.dataset.read(self.indices, most=_BATCH):
            _collect(outputs, run(batch.inputs))
        return _join(outputs)

    def measure(self, metric: Metric, outputs: Mapping[str, Array]) -> float:
        """A metric of some outputs; NaN or infinity where the outputs are.

        Raises:
            InvalidInputError: The data lacks what the metric needs.
        """
        return metric.measure(
            Evaluated(
                outputs=outputs, reference=self.reference, inputs=self.inputs, extras=self.extras
            )
        )


def mean_snr_db(reference: Mapping[str, Array], outputs: Mapping[str, Array]) -> float:
    """Signal-to-noise ratio in dB, averaged over outputs; 200 where nothing differs."""
    return float(np.mean([snr_db(values, outputs[name]) for name, values in reference.items()]))


def snr_db(reference: Array, values: Array) -> float:
    """Power of the reference over that of the difference, in dB; between -200 and 200.

    Where the reference is infinite or NaN, as a masked score is, nothing can be told and nothing is.
    """
    is_told = np.isfinite(reference)
    wanted, got = reference[is_told].astype(np.float64), values[is_told].astype(np.float64)
    if not np.isfinite(got).all():
        return -_MOST_DB
    noise, signal = float(np.square(got - wanted).sum()), float(np.square(wanted).sum())
    if noise == 0:
        return _MOST_DB
    return float(np.clip(10 * np.log10(max(signal, 1e-300) / noise), -_MOST_DB, _MOST_DB))


def _collect(parts: dict[str, list[Array]], arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        parts.setdefault(name, []).append(array.copy())


def _join(parts: Mapping[str, Sequence[Array]]) -> dict[str, Array]:
    """All samples in one array for each name; samples of different sizes end to end, to be compared value by value."""
    return {name: _join_one(arrays) for name, arrays in parts.items()}


def _join_one(arrays: Sequence[Array]) -> Array:
    if len({array.shape[1:] for array in arrays}) == 1 and arrays[0].ndim:
        return np.concatenate(arrays)
    return np.concatenate([array.reshape(-1) for array in arrays])
