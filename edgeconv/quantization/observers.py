"""How the range of an activation is chosen from what was seen of it.

The range decides what an integer can express: values outside are clipped, and the wider it is, the coarser the steps
inside. Each observer is a function from a `Histogram` to a `Range`; zero is always inside, since padding and ReLU need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import Range
from edgeconv.quantization.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values: TypeAlias = NDArray[np.float64]

__all__ = ["OBSERVERS", "Observer", "find_observer", "is_sparse"]

Observer: TypeAlias = Callable[[Histogram, int], Range]
"""From the histogram of an activation and the number of bits it will have, the range."""

_PERCENTILE = 0.9999
_TRIED = 64
_LEAST_SHARE = 0.1
_LEAST_PER_BIN = 8


def observe_min_max(histogram: Histogram, bits: int) -> Range:  # noqa: ARG001 - the observers' interface
    """Everything that was seen: nothing is clipped, and one outlier makes all steps coarse."""
    if histogram.is_empty:
        return Range(low=0.0, high=0.0)
    return Range(low=min(0.0, histogram.low), high=max(0.0, histogram.high))


def observe_percentile(histogram: Histogram, bits: int) -> Range:
    """All but the outermost 0.01 % at each end.

    Source: McKinstry et al., "Discovering Low-Precision Networks Close to Full-Precision Networks for Efficient Embedded
    Inference", arXiv:1809.04191, section 3.
    """
    whole = observe_min_max(histogram, bits)
    low, high = histogram.quantile(1 - _PERCENTILE), histogram.quantile(_PERCENTILE)
    return Range(low=max(whole.low, min(0.0, low)), high=min(whole.high, max(0.0, high)))


def observe_mse(histogram: Histogram, bits: int) -> Range:
    """The range whose rounding and clipping together have the least squared error.

    Within the range a value is off by a uniformly distributed part of a step: step^2 / 12 on average; zeros are exact.
    Outside it is off by its distance from the range. All pairs of a lower and an upper end are compared.

    Source: Banner, Nahshan and Soudry, "Post training 4-bit quantization of convolutional networks for
    rapid-deployment", NeurIPS 2019, section 2; here on the values that were seen, not on a fitted distribution.
    """
    whole = observe_min_max(histogram, bits)
    if histogram.is_empty or whole.largest == 0:
        return whole
    shares = np.linspace(_LEAST_SHARE, 1.0, _TRIED)
    lows = shares * whole.low if whole.low < 0 else np.zeros(1)
    highs = shares * whole.high if whole.high > 0 else np.zeros(1)
    below, above = _clipping_errors(histogram, lows, -1), _clipping_errors(histogram, highs, 1)
    steps = (highs[None, :] - lows[:, None]) / (2**bits - 1)
    inside = max(float(histogram.counts.sum()) - histogram.zeros, 0.0)
    errors = below[:, None] + above[None, :] + inside * steps**2 / 12
    low, high = np.unravel_index(int(np.argmin(errors)), errors.shape)
    return Range(low=float(lows[low]), high=float(highs[high]))


def observe_entropy(histogram: Histogram, bits: int) -> Range:
    """The threshold at which the quantized distribution tells the least less than the original one.

    The Kullback-Leibler divergence between the absolute values, clipped at a threshold, and the same in as many levels as
    the integers have on one side, is least there.

    Where a bin of the histogram holds few values, the divergence is that of chance, and least where almost everything is clipped:
    with fewer than eight values for each bin the range is that of `min-max`. (Of two thousand values in two clusters the published
    method kept the one near zero, a tenth of the range; joining bins until each holds enough clips more often, not less.)

    Source: Migacz, "8-bit Inference with TensorRT", GPU Technology Conference 2017.
    """
    whole = observe_min_max(histogram, bits)
    if whole.largest == 0 or is_sparse(histogram):
        return whole
    counts = _absolute_counts(histogram)
    half = len(counts)
    levels = min(2 ** (bits - 1), half // 2)
    used = int(np.flatnonzero(counts)[-1]) + 1
    tried = np.unique(np.linspace(levels, max(used, levels), _TRIED * 2).astype(int))
    losses = [_divergence(counts, int(end), levels) for end in tried]
    threshold = float(tried[int(np.argmin(losses))]) * histogram.limit / half
    return Range(low=max(whole.low, -threshold), high=min(whole.high, threshold))


def is_sparse(histogram: Histogram) -> bool:
    """Whether too few values other than zero were seen for `entropy` to tell how they are distributed."""
    counts = _absolute_counts(histogram)
    used = np.flatnonzero(counts)
    return not used.size or bool(counts.sum() < _LEAST_PER_BIN * (used[-1] + 1))


def _absolute_counts(histogram: Histogram) -> Values:
    """Counts of absolute values by bin, without exact zeros."""
    half = len(histogram.counts) // 2
    counts: Values = histogram.counts[half:] + histogram.counts[half - 1 :: -1]
    counts[0] = max(counts[0] - histogram.zeros, 0.0)
    return counts


def find_observer(name: str) -> Observer:
    """The observer with this name.

    Raises:
        UsageError: There is none.
    """
    if name not in OBSERVERS:
        raise UsageError(
            f"there is no observer '{name}'", hint="use one of: " + ", ".join(OBSERVERS)
        )
    return OBSERVERS[name]


def _clipping_errors(histogram: Histogram, ends: Values, sign: int) -> Values:
    """For each end of a range the summed squared distance of the values beyond it, below (-1) or above (1)."""
    centres, counts = histogram.centres(), histogram.counts
    outward = sign * centres
    order = np.argsort(outward)
    outward, counts = outward[order], counts[order]
    moments = [np.cumsum((counts * outward**power)[::-1])[::-1] for power in range(3)]
    places = np.searchsorted(outward, sign * ends)
    inside = places < len(outward)
    m0, m1, m2 = (
        np.where(inside, moment[np.minimum(places, len(moment) - 1)], 0.0) for moment in moments
    )
    distance = sign * ends
    return np.maximum(m2 - 2 * distance * m1 + distance**2 * m0, 0.0)


def _divergence(counts: Values, end: int, levels: int) -> float:
    """How much is lost when the first bins, with all beyond added to the last, are told in so many levels."""
    original = counts[:end].copy()
    reference = original.copy()
    reference[-1] += counts[end:].sum()
    level = np.minimum(np.arange(end) * levels // end, levels - 1)
    filled = original > 0
    sums = np.bincount(level, weights=original, minlength=levels)
    occupied = np.bincount(level, weights=filled, minlength=levels)
    spread = np.where(filled, (sums / np.maximum(occupied, 1))[level], 0.0)
    p, q = reference / reference.sum(), spread / max(float(spread.sum()), 1e-30)
    both = p > 0
    return float(np.sum(p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))))


OBSERVERS: Mapping[str, Observer] = MappingProxyType(
    {
        "min-max": observe_min_max,
        "percentile": observe_percentile,
        "mse": observe_mse,
        "entropy": observe_entropy,
    }
)
"""Every observer, by name."""
