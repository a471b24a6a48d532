"""Runs a float model on real data and keeps what quantization needs to know of its activations.

Nothing of the data is kept but histograms and sums per channel: memory depends on the model, not on how many samples
there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.errors import InvalidInputError
from edgeconv.plugin.quantizer import FloatModel, Range
from edgeconv.quantization.dataset import Batch, Dataset
from edgeconv.quantization.histogram import Histogram
from edgeconv.quantization.observers import Observer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]
    Values: TypeAlias = NDArray[np.float64]

__all__ = ["FEW_SAMPLES", "ChannelSums", "Statistics", "calibrate"]

FEW_SAMPLES = 32
"""With fewer samples the ranges are those of the samples rather than those of the model."""

_BATCH = 16
_BATCH_BYTES = 64 << 20


@dataclass(slots=True, kw_only=True)
class ChannelSums:
    """What is known of each channel of an activation.

    Attributes:
        total: Sum of the values.
        count: How many values were summed up.
        largest: The greatest absolute value.
    """

    total: Values
    count: int
    largest: Values

    @property
    def mean(self) -> Values:
        """The mean value."""
        return self.total / max(self.count, 1)


@dataclass(slots=True, kw_only=True)
class Statistics:
    """What was seen of a model's activations.

    Attributes:
        histograms: By tensor name, of every float activation.
        channels: By tensor name, of the activations that operators with weights read.
        samples: How many samples were seen.
        seen_bytes: What their activations took in memory, together.
    """

    histograms: dict[str, Histogram] = field(default_factory=dict)
    channels: dict[str, ChannelSums] = field(default_factory=dict)
    samples: int = 0
    seen_bytes: int = 0

    def ranges(
        self, observer: Observer, bits: Mapping[str, int], default: int = 8
    ) -> dict[str, Range]:
        """The range of every activation, as an observer sees it.

        Args:
            observer: Chooses it.
            bits: Of activations that have another number of bits than most.
            default: Of the others.
        """
        return {
            name: observer(histogram, bits.get(name, default))
            for name, histogram in self.histograms.items()
        }


def calibrate(model: FloatModel, dataset: Dataset, indices: Sequence[int]) -> Statistics:
    """Run a model on samples.

    Args:
        model: As it is now, with the weights that were changed.
        dataset: Where the samples are.
        indices: Which of them.

    Raises:
        InvalidInputError: There is no sample, all are the same constant, or one makes the model compute NaN.
    """
    statistics = Statistics()
    axes = _channel_axes(model)
    if not indices:
        raise InvalidInputError(
            f"{dataset.what} has no samples left to calibrate with",
            why="all of them are evaluation data as well",
            hint="give samples that are not in --data",
        )
    for batch in _batches(dataset, indices, statistics):
        activations = model.observe(batch.inputs)
        for name, values in activations.items():
            _add(statistics, name, values, axes.get(name))
            statistics.seen_bytes += values.nbytes
        statistics.samples += len(batch.indices)
        _refuse_nan(statistics, batch, dataset)
    _refuse_constant(model, statistics, dataset)
    return statistics


def _batches(dataset: Dataset, indices: Sequence[int], statistics: Statistics) -> Iterator[Batch]:
    """The first sample by itself; then as many at once as their activations, which all are kept, leave room for."""
    yield from dataset.read(indices[:1])
    room = _BATCH_BYTES // max(statistics.seen_bytes, 1)
    yield from dataset.read(indices[1:], most=min(_BATCH, max(1, room)))


def _channel_axes(model: FloatModel) -> dict[str, int]:
    """The axis that counts channels of each activation that an operator with weights reads."""
    made = {
        name: operator.channel_axis for operator in model.operators for name in operator.outputs
    }
    read = {
        operator.inputs[0]: operator.channel_axis
        for operator in model.operators
        if operator.weights is not None and operator.inputs
    }
    return {name: made.get(name, axis) for name, axis in read.items()}


def _add(statistics: Statistics, name: str, values: Array, axis: int | None) -> None:
    statistics.histograms.setdefault(name, Histogram()).add(values)
    if axis is None or not values.ndim or not values.size:
        return
    flat = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    total, largest = flat.sum(axis=0, dtype=np.float64), np.abs(flat).max(axis=0)
    known = statistics.channels.get(name)
    if known is None:
        statistics.channels[name] = ChannelSums(
            total=total, count=len(flat), largest=largest.astype(np.float64)
        )
    elif known.total.shape == total.shape:
        known.total += total
        known.count += len(flat)
        known.largest = np.maximum(known.largest, largest)


def _refuse_nan(statistics: Statistics, batch: Batch, dataset: Dataset) -> None:
    names = [name for name, histogram in statistics.histograms.items() if histogram.nans]
    if names:
        raise InvalidInputError(
            f"the model computes NaN from {dataset.what}",
            why=f"'{names[0]}' holds NaN for one of the samples {', '.join(map(str, batch.indices))}",
            hint="leave such samples out, or mend the model: a range cannot be found for NaN",
        )


def _refuse_constant(model: FloatModel, statistics: Statistics, dataset: Dataset) -> None:
    seen = [statistics.histograms.get(spec.name) for spec in model.signature.inputs]
    known = [histogram for histogram in seen if histogram is not None]
    if known and all(histogram.low == histogram.high for histogram in known):
        raise InvalidInputError(
            f"{dataset.what} is constant",
            why=f"every value of every sample is {known[0].low:g}",
            hint="give real inputs of the model: ranges of activations cannot be found from these",
        )
