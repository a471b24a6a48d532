"""What accumulates along an axis.

TFLite has the running sum alone. Other running results are made by doubling: after step k each element holds the
result over the last 2^k, so that log2(n) steps on whole tensors are enough.
Source: Hillis, Steele, "Data Parallel Algorithms".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.transcendental import accurate_log1p
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

# Combines what was there before with what came later.
Combine = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


@lower("aten.cumsum")
def cumsum(b: LoweringBuilder, x: Tensor, dim: int, **_: object) -> Tensor:
    x = b.cast(x, b.dtype)
    return x if x.rank == 0 else b.op("CUMSUM", x, axis=dim % x.rank)


@lower("aten.cumprod")
def cumprod(b: LoweringBuilder, x: Tensor, dim: int, **_: object) -> Tensor:
    def multiply(before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
        return [b.op("MUL", before[0], after[0])]

    return _scan(b, [b.cast(x, b.dtype)], dim, multiply)[0]


@lower("aten.cummax")
def cummax(b: LoweringBuilder, x: Tensor, dim: int) -> list[Tensor]:
    return _extreme_so_far(b, x, dim, "GREATER_EQUAL")


@lower("aten.cummin")
def cummin(b: LoweringBuilder, x: Tensor, dim: int) -> list[Tensor]:
    return _extreme_so_far(b, x, dim, "LESS_EQUAL")


def _extreme_so_far(b: LoweringBuilder, x: Tensor, dim: int, wins: str) -> list[Tensor]:
    """The largest or smallest so far, and its position: of equal ones the latest. NaN comes before all numbers."""

    def choose(before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
        is_later = b.op(wins, after[0], before[0])
        if x.dtype.is_floating:
            is_nan = b.op("NOT_EQUAL", after[0], after[0])
            is_later = b.op("LOGICAL_OR", is_later, is_nan)
        pairs = zip(after, before, strict=True)
        return [b.op("SELECT_V2", is_later, late, early) for late, early in pairs]

    positions = _positions(b, x, dim)
    values, indices = _scan(b, [x, positions], dim, choose)
    return [values, b.cast(indices, DType.INT64)]


def _positions(b: LoweringBuilder, x: Tensor, dim: int) -> Tensor:
    """Of each element along an axis."""
    if x.rank == 0:
        return b.scalar(0, DType.INT32)
    size = _static_size(x, dim)
    shape = [size if axis == dim % x.rank else 1 for axis in range(x.rank)]
    return b.broadcast(b.constant(np.arange(size, dtype=np.int32).reshape(shape)), x.shape)


@lower("aten.logcumsumexp")
def logcumsumexp(b: LoweringBuilder, x: Tensor, dim: int) -> Tensor:
    """log(exp(a) + exp(b)) is max(a, b) + log1p(exp(-|a - b|)); equal infinities have no difference."""

    def add_up(before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
        (early,), (late,) = before, after
        is_same = b.op("EQUAL", early, late)
        distance = b.op("ABS", b.op("SUB", early, late))
        distance = b.op("SELECT_V2", is_same, b.scalar(0, b.dtype), distance)
        rest = accurate_log1p(b, b.op("EXP", b.op("NEG", distance)))
        return [b.op("ADD", b.op("MAXIMUM", early, late), rest)]

    return _scan(b, [b.cast(x, b.dtype)], dim, add_up)[0]


def _static_size(x: Tensor, dim: int) -> int:
    size = x.shape[dim]
    if not isinstance(size, int):
        raise CannotLowerError("it accumulates along a dynamic axis")
    return size


def _scan(b: LoweringBuilder, state: Sequence[Tensor], dim: int, combine: Combine) -> list[Tensor]:
    done = list(state)
    if done[0].rank == 0:
        return done
    axis, size = dim % done[0].rank, _static_size(done[0], dim)
    reach = 1
    while reach < size:
        before = [b.slice(t, axis, 0, size - reach) for t in done]
        after = [b.slice(t, axis, reach, size) for t in done]
        heads = [b.slice(t, axis, 0, reach) for t in done]
        parts = zip(heads, combine(before, after), strict=True)
        done = [b.node("CONCATENATION", list(pair), axis=axis).output for pair in parts]
        reach *= 2
    return done
