"""What single precision numbers are made of: mantissas and exponents, and the neighbouring numbers.

Numbers are scaled by powers of two, which is exact, and needs no look at their bits, which not every format allows.
Subnormal numbers are 0 to the runtimes.
"""

from __future__ import annotations

import math

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_STEPS = (64, 32, 16, 8, 4, 2, 1)
_FACTS = np.finfo(np.float32)
_LARGEST = float(_FACTS.max)
_SMALLEST = float(_FACTS.smallest_subnormal)
_SMALLEST_NORMAL = float(_FACTS.tiny)
_EPSILON = float(_FACTS.eps)


def _expect_single(x: Tensor) -> None:
    if x.dtype != DType.FLOAT32:
        raise CannotLowerError(f"of {x.dtype}, whose numbers have other parts")


def _number(b: LoweringBuilder, value: float) -> Tensor:
    return b.scalar(value, DType.FLOAT32)


def _is_plain(b: LoweringBuilder, size: Tensor) -> Tensor:
    """Neither 0 nor subnormal nor infinite nor NaN."""
    is_finite = b.op("LESS", size, _number(b, math.inf))
    is_normal = b.op("GREATER_EQUAL", size, _number(b, _SMALLEST_NORMAL))
    return b.op("LOGICAL_AND", is_finite, is_normal)


def _split(b: LoweringBuilder, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A mantissa from 1 up to 2, the exponent and the power of two, of positive normal numbers."""
    mantissa, power = size, _number(b, 1)
    exponent = b.scalar(0, DType.INT32)
    for step in (*_STEPS, *(-step for step in _STEPS)):
        limit = _number(b, 2.0**step if step > 0 else 2.0 ** (1 + step))
        is_off = b.op("GREATER_EQUAL" if step > 0 else "LESS", mantissa, limit)
        scaled = b.op("MUL", mantissa, _number(b, 2.0**-step))
        mantissa = b.op("SELECT_V2", is_off, scaled, mantissa)
        factor = b.op("SELECT_V2", is_off, _number(b, 2.0**step), _number(b, 1))
        power = b.op("MUL", power, factor)
        by = b.op("SELECT_V2", is_off, b.scalar(step, DType.INT32), b.scalar(0, DType.INT32))
        exponent = b.op("ADD", exponent, by)
    return mantissa, exponent, power


@lower("aten.frexp.Tensor")
def frexp(b: LoweringBuilder, x: Tensor) -> list[Tensor]:
    """A mantissa from 1/2 up to 1 and an exponent; 0, infinities and NaN are their own mantissas."""
    _expect_single(x)
    size = b.op("ABS", x)
    is_plain = _is_plain(b, size)
    mantissa, exponent, _ = _split(b, b.op("SELECT_V2", is_plain, size, _number(b, 1)))
    half = b.op("MUL", b.op("MUL", mantissa, _number(b, 0.5)), b.op("SIGN", x))
    exponent = b.op("ADD", exponent, b.scalar(1, DType.INT32))
    return [
        b.op("SELECT_V2", is_plain, half, x),
        b.op("SELECT_V2", is_plain, exponent, b.scalar(0, DType.INT32)),
    ]


@lower("aten.nextafter")
def nextafter(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """The next number towards y; from 0 it is the smallest there is, from an infinite one the largest."""
    x, y = (b.broadcast(b.cast(t, b.dtype), b.shape) for t in (x, y))
    _expect_single(x)
    zero = _number(b, 0)
    size, is_up = b.op("ABS", x), b.op("LESS", x, y)
    is_plain = _is_plain(b, size)
    mantissa, _, power = _split(b, b.op("SELECT_V2", is_plain, size, _number(b, 1)))
    outward = b.op("ADD", mantissa, _number(b, _EPSILON))
    # Below a power of two the numbers are twice as close.
    is_edge = b.op("EQUAL", mantissa, _number(b, 1))
    gap = b.op("SELECT_V2", is_edge, _number(b, _EPSILON / 2), _number(b, _EPSILON))
    inward = b.op("SUB", mantissa, gap)
    goes_out = b.op("EQUAL", is_up, b.op("GREATER", x, zero))
    moved = b.op("MUL", b.op("SELECT_V2", goes_out, outward, inward), power)
    is_infinite = b.op("EQUAL", size, _number(b, math.inf))
    moved = b.op("SELECT_V2", is_infinite, _number(b, _LARGEST), moved)
    moved = b.op("MUL", moved, b.op("SIGN", x))
    first = b.op("SELECT_V2", is_up, _number(b, _SMALLEST), _number(b, -_SMALLEST))
    moved = b.op("SELECT_V2", b.op("EQUAL", x, zero), first, moved)
    moved = b.op("SELECT_V2", b.op("EQUAL", x, y), y, moved)
    is_number = b.op("LOGICAL_AND", b.op("EQUAL", x, x), b.op("EQUAL", y, y))
    return b.op("SELECT_V2", is_number, moved, b.op("ADD", x, y))
