"""Hurwitz's zeta function, and the derivatives of the logarithm of gamma, which are made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.arithmetic import Operand
from edgeconv.lowering.families.special import digamma_of
from edgeconv.lowering.looping import repeat
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_FEWEST_TERMS = 9
_MOST_TERMS = 10_000.0
# (2k)! / B_2k, for k from 1 on. Source: Moshier, Cephes, zeta.
_BERNOULLI = (
    12.0,
    -720.0,
    30240.0,
    -1209600.0,
    47900160.0,
    -1.8924375803183791606e9,
    7.47242496e10,
)


def _number(b: LoweringBuilder, value: float) -> Tensor:
    return b.scalar(value, b.dtype)


@lower("aten.special_zeta")
def zeta(b: LoweringBuilder, x: Operand, q: Operand) -> Tensor:
    exponent, start = (b.broadcast(b.like(t, b.dtype), b.shape) for t in (x, q))
    return _zeta(b, exponent, start)


def _zeta(b: LoweringBuilder, x: Tensor, q: Tensor) -> Tensor:
    """The sum of (q + k)^-x, its first terms one by one, the rest by Euler and Maclaurin's formula."""
    power = b.op("POW", q, b.op("NEG", x))
    place, last, total = repeat(b, _turns(b, q), [q, power, power], _add_term, [x])
    rest = b.op("DIV", b.op("MUL", last, place), b.op("SUB", x, _number(b, 1)))
    total = b.op("SUB", b.op("ADD", total, rest), b.op("MUL", last, _number(b, 0.5)))
    factor, k = x, 1
    for divisor in _BERNOULLI:
        last = b.op("DIV", last, place)
        term = b.op("MUL", b.op("MUL", factor, last), _number(b, 1 / divisor))
        total = b.op("ADD", total, term)
        for _ in range(2):
            factor = b.op("MUL", factor, b.op("ADD", x, _number(b, k)))
            k += 1
        last = b.op("DIV", last, place)
    return _with_edges(b, x, q, total)


def _turns(b: LoweringBuilder, q: Tensor) -> int | Tensor:
    """As many terms as it takes from the smallest start to beyond 9."""
    if q.constant is not None:
        smallest = float(np.min(np.asarray(q.constant, np.float64)))
        return int(max(_FEWEST_TERMS, min(_MOST_TERMS, math.ceil(10 - smallest))))
    smallest_start = b.reduce("REDUCE_MIN", q, [], keep_dims=False)
    count = b.op("CEIL", b.op("SUB", b.scalar(10, q.dtype), smallest_start))
    count = b.op("MINIMUM", count, b.scalar(_MOST_TERMS, q.dtype))
    return b.op("MAXIMUM", b.cast(count, DType.INT32), b.scalar(_FEWEST_TERMS, DType.INT32))


def _add_term(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    (place, _, total), (x,) = state, fixed
    is_early = b.op("LESS", turn, b.scalar(_FEWEST_TERMS, DType.INT32))
    is_low = b.op("LESS_EQUAL", place, b.scalar(_FEWEST_TERMS, x.dtype))
    is_on = b.op("LOGICAL_OR", is_early, is_low)
    following = b.op("ADD", place, b.scalar(1, x.dtype))
    term = b.op("POW", following, b.op("NEG", x))
    new = (following, term, b.op("ADD", total, term))
    return [b.op("SELECT_V2", is_on, t, old) for t, old in zip(new, state, strict=True)]


def _with_edges(b: LoweringBuilder, x: Tensor, q: Tensor, value: Tensor) -> Tensor:
    """Infinite at 1 and where q is a whole number up to 0; NaN below 1, and for other negative q unless x is whole."""
    one, zero = _number(b, 1), _number(b, 0)
    infinite, undefined = _number(b, math.inf), _number(b, math.nan)
    is_left = b.op("LESS_EQUAL", q, zero)
    is_pole = b.op("LOGICAL_AND", is_left, b.op("EQUAL", q, b.op("FLOOR", q)))
    is_broken = b.op("NOT_EQUAL", x, b.op("FLOOR", x))
    value = b.op("SELECT_V2", b.op("LOGICAL_AND", is_left, is_broken), undefined, value)
    value = b.op("SELECT_V2", is_pole, infinite, value)
    value = b.op("SELECT_V2", b.op("LESS", x, one), undefined, value)
    return b.op("SELECT_V2", b.op("EQUAL", x, one), infinite, value)


@lower("aten.polygamma")
def polygamma(b: LoweringBuilder, n: int, x: Tensor) -> Tensor:
    """The derivative of order n of digamma: (-1)^(n + 1) n! zeta(n + 1, x)."""
    x = b.cast(x, b.dtype)
    if n == 0:
        return digamma_of(b, x)
    if n == 1:
        return _trigamma(b, x)
    value = _zeta(b, b.broadcast(_number(b, n + 1), x.shape), x)
    return b.op("MUL", value, _number(b, (-1) ** (n + 1) * math.factorial(n)))


_STEPS = 6
# Of 1 / x^2, highest power first: B_2k. Source: Abramowitz, Stegun, "Handbook", 6.4.12.
_TRIGAMMA = (-1 / 30, 1 / 42, -1 / 30, 1 / 6)


def _trigamma(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Raised by the recurrence; below 1/2 by reflection: pi^2 / sin^2(pi x) minus the value at 1 - x."""
    is_low = b.op("LESS", x, _number(b, 0.5))
    z = b.op("SELECT_V2", is_low, b.op("SUB", _number(b, 1), x), x)
    total: Tensor = _number(b, 0)
    for step in range(_STEPS):
        place = b.op("ADD", z, _number(b, step))
        total = b.op("ADD", total, b.op("DIV", _number(b, 1), b.op("MUL", place, place)))
    inverse = b.op("DIV", _number(b, 1), b.op("ADD", z, _number(b, _STEPS)))
    squared = b.op("MUL", inverse, inverse)
    tail = b.op("ADD", _number(b, 1), b.op("MUL", inverse, _number(b, 0.5)))
    tail = b.op("ADD", tail, b.op("MUL", squared, b.polynomial(squared, _TRIGAMMA)))
    right = b.op("ADD", total, b.op("MUL", inverse, tail))
    sine = b.op("SIN", b.op("MUL", x, _number(b, math.pi)))
    reflected = b.op("DIV", _number(b, math.pi**2), b.op("MUL", sine, sine))
    return b.op("SELECT_V2", is_low, b.op("SUB", reflected, right), right)
