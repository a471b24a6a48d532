"""Accuracy of classifiers: the share of samples whose label is among the largest outputs."""

from __future__ import annotations

import numpy as np

from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.quantization.metrics.spec import Evaluated, Metric, only_output

__all__ = ["TOP1", "TOP5"]


def _accuracy(evaluated: Evaluated, most: int) -> float:
    name = f"top{most}"
    scores, labels = only_output(evaluated, name), evaluated.label(name)
    _check(scores, labels, name)
    if most == 1:
        return float(np.mean(scores.argmax(axis=-1) == labels))
    best = np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")[..., :most]
    return float(np.mean((best == labels[..., None]).any(axis=-1)))


def _check(scores: Array, labels: Array, name: str) -> None:
    if labels.dtype.kind not in "iu" or labels.shape != scores.shape[:-1]:
        raise InvalidInputError(
            f"metric '{name}' needs one class number per sample as label",
            why=f"labels are {labels.dtype}{list(labels.shape)}, outputs {list(scores.shape)}",
            hint="give integers from 0, as many as there are samples",
        )
    classes = scores.shape[-1]
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InvalidInputError(
            "labels are out of range",
            why=f"they go from {int(labels.min())} to {int(labels.max())}, and the model has {classes} classes",
            hint=f"number the classes from 0 to {classes - 1}, in the order of the model's outputs",
        )


TOP1 = Metric(name="top1", measure=lambda evaluated: _accuracy(evaluated, 1), unit="%")
TOP5 = Metric(name="top5", measure=lambda evaluated: _accuracy(evaluated, 5), unit="%")
