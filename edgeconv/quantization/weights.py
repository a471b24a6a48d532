"""What becomes of weights that are stored as integers, computed here to foresee the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.formats.handler import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values: TypeAlias = "NDArray[np.float32]"


__all__ = ["Values", "as_rows", "bits_of", "round_weights"]

_BITS = {"int8": 8, "int4": 4}


def bits_of(weights: str) -> int | None:
    """Bits of the integers that weights are stored as; None where they stay numbers with a point."""
    return _BITS.get(weights)


def as_rows(weights: Array, axis: int) -> Values:
    """The weights as a matrix with one row for each index of an axis."""
    moved = np.moveaxis(weights, axis, 0)
    return np.ascontiguousarray(moved.reshape(moved.shape[0], -1), dtype=np.float32)


def round_weights(rows: Values, bits: int, limits: Values | None = None) -> Values:
    """Each row rounded to symmetric integers of its own scale, as floats again.

    Args:
        rows: One row per scale.
        bits: Of the integers; the least of them, -2^(bits-1), is not used.
        limits: The greatest absolute value that each row can express; what is beyond is clipped. Its own unless given.
    """
    levels = 2 ** (bits - 1) - 1
    largest = np.abs(rows).max(axis=1) if limits is None else limits
    scales = np.where(largest > 0, largest / levels, 1).astype(np.float32)[:, None]
    rounded: Values = np.clip(np.rint(rows / scales), -levels, levels) * scales
    return rounded
