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
# Where PyTorch's own result is off by more, so may ours: up to ten times that, as every artifact of edgeconv may be, but
# not beyond this part of the largest result.
_NOISES = 10
_LARGEST_PART = 1e-5


def find_difference(
    got: Sequence[_Array],
    wanted: Sequence[_Array],
    noise: Sequence[float],
    *,
    only_shapes: bool = False,
) -> str:
    """What differs, in words; empty where nothing does. `noise` is how far `wanted` is from exact, for each output."""
    if len(got) != len(wanted):
        return f"{len(got)} outputs, not {len(wanted)}"
    for index, (mine, right, floor) in enumerate(zip(got, wanted, noise, strict=True)):
        if mine.dtype != right.dtype:
            return f"output {index} is {mine.dtype}, not {right.dtype}"
        if mine.shape != right.shape:
            return f"output {index} has the shape {mine.shape}, not {right.shape}"
        problem = "" if only_shapes else _compare_values(mine, right, floor)
        if problem:
            return f"output {index}: {problem}"
    return ""


def _compare_values(mine: _Array, right: _Array, noise: float) -> str:
    if right.dtype.name not in _TOLERANCES:
        wrong = np.asarray(mine != right)
    else:
        relative, absolute = _TOLERANCES[right.dtype.name]
        mine, right = (np.asarray(array, np.float64) for array in (mine, right))
        largest = float(np.abs(right[np.isfinite(right)]).max(initial=0))
        slack = absolute + min(_NOISES * noise, _LARGEST_PART * largest)
        wrong = ~np.isclose(mine, right, rtol=relative, atol=slack, equal_nan=True)
    if not wrong.any():
        return ""
    first = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return f"{int(wrong.sum())} of {wrong.size} differ, first {mine[first]!r}, not {right[first]!r}"
