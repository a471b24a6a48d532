"""How far the answers are from the float model's: what can be said without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeconv.formats.handler import Array
from edgeconv.quantization.metrics.spec import Evaluated, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AGREEMENT", "COSINE", "MSE"]


def _mse(evaluated: Evaluated) -> float:
    """The mean squared difference, over all outputs."""
    differences = [
        np.square(values.astype(np.float64) - evaluated.reference[name].astype(np.float64)).ravel()
        for name, values in evaluated.outputs.items()
    ]
    return float(np.mean(np.concatenate(differences)))


def _cosine(evaluated: Evaluated) -> float:
    """The mean over samples of the cosine similarity; of several outputs the worst."""
    return min(
        float(np.mean(_similarities(values, evaluated.reference[name])))
        for name, values in evaluated.outputs.items()
    )


def _agreement(evaluated: Evaluated) -> float:
    """The share of samples that get the same largest class; where an output is no row of classes, its cosine similarity."""
    return min(
        _agree(values, evaluated.reference[name]) for name, values in evaluated.outputs.items()
    )


def _agree(values: Array, reference: Array) -> float:
    if values.ndim == 2 and values.shape[1] > 1:
        return float(np.mean(values.argmax(axis=1) == reference.argmax(axis=1)))
    return float(np.mean(_similarities(values, reference)))


def _similarities(values: Array, reference: Array) -> NDArray[np.float64]:
    left, right = (part.reshape(len(part), -1).astype(np.float64) for part in (values, reference))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = (left * right).sum(axis=1)
    both_zero = ~left.any(axis=1) & ~right.any(axis=1)
    found: NDArray[np.float64] = np.where(both_zero, 1.0, products / np.maximum(lengths, 1e-300))
    return found


MSE = Metric(name="mse", measure=_mse, is_higher_better=False)
COSINE = Metric(name="cosine", measure=_cosine)
AGREEMENT = Metric(name="agreement", measure=_agreement, unit="%")
