"""The area under the ROC curve: how surely a score ranks positive samples above negative ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeconv.errors import InvalidInputError
from edgeconv.quantization.metrics.spec import Evaluated, Metric, only_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AUC"]


def _auc(evaluated: Evaluated) -> float:
    """Mann and Whitney's U over the number of pairs, ties counted half."""
    labels, scores = evaluated.label("auc"), _scores(evaluated)
    if labels.shape != scores.shape or not set(np.unique(labels).tolist()) == {0, 1}:
        raise InvalidInputError(
            "metric 'auc' needs labels 0 and 1, one per sample, and both of them",
            why=f"labels are {labels.dtype}{list(labels.shape)}",
            hint="1 marks the samples that the score should rank first",
        )
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]
    positive = labels == 1
    first, second = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - first * (first + 1) / 2) / (first * second))


def _scores(evaluated: Evaluated) -> NDArray[np.float64]:
    """One score per sample: the output; of two classes the second's lead; of a reconstruction its mean squared error."""
    output = only_output(evaluated, "auc").astype(np.float64)
    for wanted in evaluated.inputs.values():
        if wanted.shape == output.shape and output.ndim > 1 and output[0].size > 2:
            error = np.square(output - wanted.astype(np.float64)).reshape(len(output), -1)
            means: NDArray[np.float64] = error.mean(axis=1)
            return means
    flat = output.reshape(len(output), -1)
    if flat.shape[1] == 1:
        return flat[:, 0]
    if flat.shape[1] == 2:
        return flat[:, 1] - flat[:, 0]
    raise InvalidInputError(
        "metric 'auc' needs one score per sample",
        why=f"the output is {list(output.shape)}: no score, no pair of classes, no reconstruction of an input",
        hint="write a metric of your own: --metric package.module:function",
    )


AUC = Metric(name="auc", measure=_auc, needs_inputs=True)
