"""Compares what a runtime computed with what PyTorch computed: dtypes and shapes exactly, values as their dtype allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_difference"]

_Array = NDArray[np.generic]

# Relative and absolute, per element. The absolute ones are those of `torch.testing.assert_close`; the relative ones are
# ten times its own, since two runtimes add in another order and have other kernels of elementary functions. Doubles
# are computed in single precision where a runtime has no kernels for them, so that they are held to that.
_TOLERANCES = {
    "float16": (1e-2, 1e-3),
    "bfloat16": (1.6e-1, 1e-2),
    "float32": (1.3e-5, 1e-5),
    "float64": (1.3e-5, 1e-5),
}


def find_difference(
    got: Sequence[_Array], wanted: Sequence[_Array], *, only_shapes: bool = False
) -> str:
    """What differs, in words; empty where nothing does."""
    if len(got) != len(wanted):
        return f"{len(got)} outputs, not {len(wanted)}"
    for index, (mine, right) in enumerate(zip(got, wanted, strict=True)):
        if mine.dtype != right.dtype:
            return f"output {index} is {mine.dtype}, not {right.dtype}"
        if mine.shape != right.shape:
            return f"output {index} has the shape {mine.shape}, not {right.shape}"
        problem = "" if only_shapes else _compare_values(mine, right)
        if problem:
            return f"output {index}: {problem}"
    return ""


def _compare_values(mine: _Array, right: _Array) -> str:
    if right.dtype.name not in _TOLERANCES:
        wrong = np.asarray(mine != right)
    else:
        relative, absolute = _TOLERANCES[right.dtype.name]
        mine, right = (np.asarray(array, np.float64) for array in (mine, right))
        wrong = ~np.isclose(mine, right, rtol=relative, atol=absolute, equal_nan=True)
    if not wrong.any():
        return ""
    first = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return f"{int(wrong.sum())} of {wrong.size} differ, first {mine[first]!r}, not {right[first]!r}"
