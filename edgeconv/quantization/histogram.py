"""What is kept of a tensor while data streams by: a histogram of fixed size whose range grows with the data.

Memory does not depend on how much data there is. When a value lies outside of the range, the range doubles and pairs of
bins become one, so that no value is ever put into a wrong bin and none need be seen twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]
    Counts: TypeAlias = NDArray[np.float64]

__all__ = ["Histogram"]

_BINS = 4096
_LARGEST_BATCH = 1 << 16


class Histogram:
    """Counts of a tensor's finite values over a range that is symmetric around zero.

    Attributes:
        low: The least finite value seen; infinity before any.
        high: The greatest.
        zeros: How many of the counted values were exactly zero.
        infinities: How many values were infinite.
        nans: How many were NaN.
        limit: The bins cover [-limit, limit].
        counts: By bin.
    """

    def __init__(self) -> None:
        self.low = float("inf")
        self.high = float("-inf")
        self.zeros = 0.0
        self.infinities = 0
        self.nans = 0
        self.limit = 0.0
        self.counts: Counts = np.zeros(_BINS)
        self._random = np.random.default_rng(0)

    @property
    def is_empty(self) -> bool:
        """Whether no finite value was seen."""
        return self.low > self.high

    def add(self, values: Array) -> None:
        """Count the values of an array; of a large one some, drawn from everywhere. Least and greatest are always exact."""
        flat = values.reshape(-1)
        low, high = (float(flat.min()), float(flat.max())) if flat.size else (np.inf, -np.inf)
        if not (np.isfinite(low) and np.isfinite(high)):
            flat = self._leave_out_infinite(flat)
            if not flat.size:
                return
            low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        counted, weight = self._draw(flat)
        self.zeros += weight * (counted.size - np.count_nonzero(counted))
        self.counts += weight * np.bincount(self._places(counted), minlength=_BINS)

    def centres(self) -> Counts:
        """The value in the middle of each bin."""
        places = np.arange(_BINS, dtype=np.float64)
        return (places + 0.5) * (2 * self.limit / _BINS) - self.limit

    def quantile(self, share: float) -> float:
        """The value below which a share of all values lies, as exactly as the bins are fine."""
        total = np.cumsum(self.counts)
        if not total[-1]:
            return 0.0
        place = int(np.searchsorted(total, share * total[-1]))
        edge = (place + (share >= 0.5)) * (2 * self.limit / _BINS) - self.limit
        return float(np.clip(edge, self.low, self.high))

    def _draw(self, flat: Array) -> tuple[Array, float]:
        """The values that are counted, and for how many each stands.

        One of each stretch is drawn: every n-th would be the same few channels again and again.
        """
        step = max(1, flat.size // _LARGEST_BATCH)
        if step == 1:
            return flat, 1.0
        starts = np.arange(0, flat.size - step + 1, step)
        drawn: Array = flat[starts + self._random.integers(0, step, starts.size)]
        return drawn, flat.size / drawn.size

    def _places(self, values: Array) -> NDArray[np.int64]:
        """The bin of each value; zeros, until anything else was seen, are in the one that starts at zero."""
        if not self.limit:
            return np.full(values.size, _BINS // 2)
        # The limit is a power of two: nothing is rounded, and a bin is the same whatever range it was counted with.
        power = _BINS.bit_length() - 1 - int(np.log2(self.limit)) - 1
        scaled = np.floor(np.ldexp(values.astype(np.float64), power)).astype(np.int64)
        return np.clip(scaled + _BINS // 2, 0, _BINS - 1)

    def _leave_out_infinite(self, flat: Array) -> Array:
        nans = int(np.isnan(flat).sum())
        finite: Array = flat[np.isfinite(flat)]
        self.nans += nans
        self.infinities += flat.size - finite.size - nans
        return finite

    def _widen(self, largest: float) -> None:
        if largest and not self.limit:
            self.limit = float(2.0 ** np.ceil(np.log2(largest)))
        while largest > self.limit > 0:
            joined = self.counts.reshape(-1, 2).sum(axis=1)
            quarter = _BINS // 4
            self.counts = np.concatenate([np.zeros(quarter), joined, np.zeros(quarter)])
            self.limit *= 2
