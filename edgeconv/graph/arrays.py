"""Arrays of a graph's dtypes; bfloat16, which NumPy lacks, is that of ml_dtypes."""

from __future__ import annotations

from typing import cast

import numpy as np

from edgeconv.signature import DType

__all__ = ["epsilon", "lowest", "numpy_dtype"]


def numpy_dtype(dtype: DType) -> np.dtype[np.generic]:
    """The dtype of an array."""
    if dtype == DType.BFLOAT16:
        import ml_dtypes

        return cast("np.dtype[np.generic]", np.dtype(ml_dtypes.bfloat16))
    return np.dtype(dtype.value)


def lowest(dtype: DType) -> float:
    """The smallest finite number of a dtype."""
    if dtype.is_integer:
        return int(np.iinfo(dtype.value).min)
    return -float(_largest(dtype))


def epsilon(dtype: DType) -> float:
    """The distance from 1 to the next number of a floating-point dtype."""
    one = np.ones((), numpy_dtype(dtype))
    return float(np.nextafter(one, np.full_like(one, 2)) - one)


def _largest(dtype: DType) -> np.generic:
    infinity = np.full((), np.inf, numpy_dtype(dtype))
    return cast("np.generic", np.nextafter(infinity, np.zeros_like(infinity)))
