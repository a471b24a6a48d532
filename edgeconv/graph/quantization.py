"""How integers stand for real numbers, where a model was trained to compute with integers.

What a model quantizes while it runs is the pair of operators QUANTIZE and DEQUANTIZE. What it stores as integers is a
float constant that remembers them: every pass that knows nothing of integers sees plain weights, and a writer that can
store integers gets the trained ones back, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeconv.signature import DType

__all__ = ["Quantization", "offset_between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """real = scale * (integer - zero point), with one scale for all, or one for each index along an axis.

    Attributes:
        dtype: Of the integers.
        scales: float32 values.
        zero_points: As many.
        axis: What scales are counted along; None for a single one.
    """

    dtype: DType
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None

    @property
    def is_symmetric(self) -> bool:
        """Whether zero is the integer 0 everywhere."""
        return not any(self.zero_points)

    def transposed(self, perm: Sequence[int]) -> Quantization:
        """That of the same values with their axes permuted."""
        return self if self.axis is None else replace(self, axis=list(perm).index(self.axis))

    def reshaped(self, old: Sequence[int], new: Sequence[int]) -> Quantization | None:
        """That of the same values in another shape; None where the axis is not kept whole."""
        if self.axis is None:
            return self
        before = math.prod(old[: self.axis])
        for axis, size in enumerate(new):
            if size == old[self.axis] and math.prod(new[:axis]) == before:
                return replace(self, axis=axis)
        return None

    def stored_as(self, dtype: DType) -> Quantization:
        """That of the same real values in integers of another dtype of as many bits, all moved by as much."""
        offset = offset_between(self.dtype, dtype)
        zero_points = tuple(point + offset for point in self.zero_points)
        return replace(self, dtype=dtype, zero_points=zero_points)

    def integers(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """The integers that real values are nearest to."""
        limits = np.iinfo(self.dtype.value)
        scales, zeros = (
            self._spread(each, values.ndim) for each in (self.scales, self.zero_points)
        )
        nearest = np.round(values.astype(np.float64) / scales) + zeros
        stored: NDArray[np.generic] = np.clip(nearest, limits.min, limits.max).astype(limits.dtype)
        return stored

    def _spread(self, numbers: Sequence[float], rank: int) -> NDArray[np.float64]:
        array = np.asarray(numbers, np.float64)
        if self.axis is None:
            return array.reshape(())
        return array.reshape([-1 if axis == self.axis else 1 for axis in range(rank)])


def offset_between(before: DType, after: DType) -> int:
    """How much higher the least integer of one dtype is than that of another."""
    return int(np.iinfo(after.value).min) - int(np.iinfo(before.value).min)
