"""Maximum pooling that also tells where in its plane each maximum is.

The windows are gathered side by side, by a known table of the places that each one covers. The values alone are pooled as
ever, so that nothing of this is left where nobody reads the places.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as combinations

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families import adaptive, pooling
from edgeconv.lowering.families.pooling import Axis
from edgeconv.lowering.registry import Lowering

Results = list[Tensor | None]
_Table = NDArray[np.int64]


def _pool(b: LoweringBuilder, x: Tensor, axes: list[Axis]) -> Results:
    places = _places(b, x, len(axes), [_taps(axis) for axis in axes])
    return _both(b, pooling.max_pool(b, x, axes), places)


max_pool1d = pooling.max_pooling(1, "aten.max_pool1d_with_indices", _pool)
max_pool2d = pooling.max_pooling(2, "aten.max_pool2d_with_indices", _pool)
max_pool3d = pooling.max_pooling(3, "aten.max_pool3d_with_indices", _pool)


def _adaptive(count: int, name: str) -> Lowering:
    def function(b: LoweringBuilder, x: Tensor, output_size: Sequence[int]) -> Results:
        sizes = zip(x.shape[-count:], b.shape[-count:], strict=True)
        bins = [
            _bins(size, result) if isinstance(size, int) and isinstance(result, int) else None
            for size, result in sizes
        ]
        return _both(b, adaptive.adapt_max(b, x, count), _places(b, x, count, bins))

    return Lowering((name,), function)


adaptive_1d = _adaptive(1, "aten.adaptive_max_pool1d")
adaptive_2d = _adaptive(2, "aten.adaptive_max_pool2d")
adaptive_3d = _adaptive(3, "aten.adaptive_max_pool3d")


def _both(b: LoweringBuilder, values: Tensor, places: Tensor | None) -> Results:
    if places is None:
        b.results = b.results[:1]
    return [values, places]


def _taps(axis: Axis) -> list[list[int]] | None:
    """The places that each window of an axis covers; None of a dynamic one."""
    if not (isinstance(axis.size, int) and isinstance(axis.result, int)):
        return None
    reach = axis.kernel * axis.dilation
    starts = [index * axis.stride - axis.padding for index in range(axis.result)]
    return [
        [place for place in range(start, start + reach, axis.dilation) if 0 <= place < axis.size]
        for start in starts
    ]


def _bins(size: int, result: int) -> list[list[int]]:
    """Those of adaptive pooling: from floor(i n / m) to ceil((i + 1) n / m)."""
    return [
        list(range(index * size // result, -(-(index + 1) * size // result)))
        for index in range(result)
    ]


def _places(
    b: LoweringBuilder, x: Tensor, count: int, windows: Sequence[list[list[int]] | None]
) -> Tensor | None:
    """Where the first maximum of each window is; None where a size is dynamic."""
    known = [window for window in windows if window is not None]
    sizes = [size for size in x.shape[-count:] if isinstance(size, int)]
    if len(known) < count or len(sizes) < count:
        return None
    table = _table(known, sizes)
    outer = x.shape[: x.rank - count]
    flat = b.reshape(x, (*outer, product(sizes)))
    gathered = b.op("GATHER", flat, b.constant(table.astype(np.int32)), axis=len(outer))
    order = b.op("ARG_MAX", gathered, axis=gathered.rank - 1, output_type="int32")
    starts = b.constant((np.arange(len(table)) * table.shape[1]).astype(np.int32))
    found = b.op("GATHER", b.constant(table.reshape(-1)), b.op("ADD", order, starts))
    return b.reshape(found, b.results[1][1])


def _table(windows: Sequence[list[list[int]]], sizes: Sequence[int]) -> _Table:
    """A row for each window: the places it covers, in order; its first one fills up a short row."""
    rows = [
        [int(np.ravel_multi_index(place, sizes)) for place in combinations(*combination)]
        for combination in combinations(*windows)
    ]
    longest = max(map(len, rows))
    return np.asarray([row + row[:1] * (longest - len(row)) for row in rows], np.int64)
