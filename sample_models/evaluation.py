"""What a model answers on many samples, and the figure that a card reports about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from sample_models.samples import Array, Samples

__all__ = ["METRICS", "Metric", "predict", "reconstruction_auc", "top1"]

Metric: TypeAlias = Callable[[Mapping[str, Array], Mapping[str, Array]], float]

ONLY_OUTPUT = "output"


def predict(model: nn.Module, samples: Samples, batch_size: int = 100) -> dict[str, Array]:
    """The outputs for all samples, by name; a model that returns one tensor names it `output`."""
    arrays = [torch.from_numpy(array) for array in samples.inputs.values()]
    batches = zip(*(torch.split(array, batch_size) for array in arrays), strict=True)
    with torch.inference_mode():
        parts = [_named(model(*batch)) for batch in batches]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def _named(outputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return {ONLY_OUTPUT: outputs} if isinstance(outputs, Tensor) else outputs


def top1(outputs: Mapping[str, Array], extras: Mapping[str, Array]) -> float:
    """The share of samples whose largest logit is that of their `label`."""
    return float(np.mean(np.argmax(outputs[ONLY_OUTPUT], axis=-1) == extras["label"]))


def reconstruction_auc(outputs: Mapping[str, Array], extras: Mapping[str, Array]) -> float:
    """The area under the ROC curve when the mean squared error to `target` ranks anomalies (label 1) first."""
    difference = np.subtract(outputs[ONLY_OUTPUT], extras["target"], dtype=np.float64)
    return float(roc_auc_score(extras["label"], np.mean(np.square(difference), axis=-1)))


METRICS: Mapping[str, Metric] = MappingProxyType({"top1": top1, "auc": reconstruction_auc})
