"""Cross-layer equalization: channels of one activation get ranges of the same size.

An activation has one scale for all channels; a channel whose values are a hundred times smaller than another's is left with two
or three of 256 levels. Where f(s x) = s f(x) for s > 0, a channel can be made larger by its producer and smaller again
by its reader, and the model's function stays as it was. The producer's weights have a scale for each output channel, so
it costs nothing there.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1; with the
ranges that activations were seen to have in place of those of the producer's weights, as in Xiao et al., "SmoothQuant",
ICML 2023, equation 4 with alpha = 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.plugin.quantizer import FloatModel, Weights
from edgeconv.quantization.calibration import Statistics
from edgeconv.quantization.preparation.pairs import Pair, find_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]
    Values: TypeAlias = NDArray[np.float64]

__all__ = ["equalize_channels"]

_LEAST_RATIO = 1e-3
_WORTH_IT = 1.5


def equalize_channels(model: FloatModel, statistics: Statistics) -> int:
    """Equalize all pairs of a model.

    Args:
        model: Its weights are changed.
        statistics: What was seen of its activations; those of the channels are changed with them.

    Returns:
        How many pairs were changed.
    """
    return sum(_equalize(model, pair, statistics) for pair in find_pairs(model))


def _equalize(model: FloatModel, pair: Pair, statistics: Statistics) -> bool:
    first, second = pair.first.weights, pair.second.weights
    seen = statistics.channels.get(pair.between)
    if first is None or second is None or seen is None:
        return False
    if len(seen.largest) != _channels(model, first) or not np.isfinite(seen.largest).all():
        return False
    factors = _factors(model, second, seen.largest)
    if factors.max() / factors.min() < _WORTH_IT:
        return False
    _scale(model, first, first.output_axis, 1 / factors)
    if first.bias:
        _scale_bias(model, first.bias, 1 / factors)
    if second.input_axis is None:
        _scale(model, second, second.output_axis, np.repeat(factors, second.multiplier))
    else:
        _scale(model, second, second.input_axis, factors)
    seen.largest, seen.total = seen.largest / factors, seen.total / factors
    return True


def _factors(model: FloatModel, second: Weights, largest: Values) -> Values:
    """By what each channel is divided: its own range, or the mean of that and what the reader's weights leave of it."""
    ranges = np.maximum(largest, _LEAST_RATIO * max(float(largest.max()), 1e-30))
    factors = ranges
    if second.input_axis is not None:
        read = _largest(model, second, second.input_axis)
        read = np.maximum(read, _LEAST_RATIO * max(float(read.max()), 1e-30))
        factors = np.sqrt(ranges / read)
    mean: Values = np.exp(np.mean(np.log(factors)))
    return factors / mean


def _largest(model: FloatModel, weights: Weights, axis: int) -> Values:
    value = model.constant(weights.tensor)
    assert value is not None
    others = tuple(other for other in range(value.ndim) if other != axis % value.ndim)
    found: Values = np.abs(value).max(axis=others).astype(np.float64)
    return found


def _channels(model: FloatModel, weights: Weights) -> int:
    value = model.constant(weights.tensor)
    return 0 if value is None else int(value.shape[weights.output_axis])


def _scale(model: FloatModel, weights: Weights, axis: int, factors: Values) -> None:
    value = model.constant(weights.tensor)
    assert value is not None
    shape = [1] * value.ndim
    shape[axis] = len(factors)
    model.set_constant(
        weights.tensor, (value.astype(np.float64) * factors.reshape(shape)).astype(value.dtype)
    )


def _scale_bias(model: FloatModel, bias: str, factors: Values) -> None:
    value = model.constant(bias)
    assert value is not None
    model.set_constant(
        bias, (value.astype(np.float64) * factors.reshape(value.shape)).astype(value.dtype)
    )
