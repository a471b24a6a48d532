"""The regularized incomplete gamma functions: a series below a + 1, a continued fraction beyond.

Source: Press et al., "Numerical Recipes", 6.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.special import log_gamma_of
from edgeconv.lowering.looping import repeat
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_TURNS = 200  # enough for a up to some thousands in single precision
_SMALLEST = 1e-30


def _number(b: LoweringBuilder, value: float) -> Tensor:
    return b.scalar(value, b.dtype)


@lower("aten.igamma", "aten.special_gammainc")
def igamma(b: LoweringBuilder, a: Tensor, x: Tensor) -> Tensor:
    return _incomplete(b, a, x, is_upper=False)


@lower("aten.igammac", "aten.special_gammaincc")
def igammac(b: LoweringBuilder, a: Tensor, x: Tensor) -> Tensor:
    return _incomplete(b, a, x, is_upper=True)


def _incomplete(b: LoweringBuilder, a: Tensor, x: Tensor, *, is_upper: bool) -> Tensor:
    a, x = (b.broadcast(b.cast(t, b.dtype), b.shape) for t in (a, x))
    one, zero = _number(b, 1), _number(b, 0)
    is_inside = b.op("LOGICAL_AND", b.op("GREATER", a, zero), b.op("GREATER", x, zero))
    a_inside = b.op("SELECT_V2", is_inside, a, one)
    x_inside = b.op("SELECT_V2", is_inside, x, one)
    is_low = b.op("LESS", x_inside, b.op("ADD", a_inside, one))
    scale = _scale(b, a_inside, x_inside)
    low = b.op("MUL", scale, _series(b, a_inside, b.op("SELECT_V2", is_low, x_inside, one)))
    beyond = b.op("SELECT_V2", is_low, b.op("ADD", a_inside, _number(b, 2)), x_inside)
    high = b.op("MUL", scale, _fraction(b, a_inside, beyond))
    if is_upper:
        value = b.op("SELECT_V2", is_low, b.op("SUB", one, low), high)
    else:
        value = b.op("SELECT_V2", is_low, low, b.op("SUB", one, high))
    return _with_edges(b, a, x, value, is_upper=is_upper)


def _scale(b: LoweringBuilder, a: Tensor, x: Tensor) -> Tensor:
    """x^a exp(-x) / gamma(a)."""
    power = b.op("SUB", b.op("MUL", a, b.op("LOG", x)), x)
    return b.op("EXP", b.op("SUB", power, log_gamma_of(b, a)))


def _series(b: LoweringBuilder, a: Tensor, x: Tensor) -> Tensor:
    first = b.op("DIV", _number(b, 1), a)
    return repeat(b, _TURNS, [first, first], _add_term, [a, x])[1]


def _add_term(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    (term, total), (a, x) = state, fixed
    place = b.op("ADD", b.cast(b.op("ADD", turn, b.scalar(1, DType.INT32)), a.dtype), a)
    term = b.op("MUL", term, b.op("DIV", x, place))
    return [term, b.op("ADD", total, term)]


def _fraction(b: LoweringBuilder, a: Tensor, x: Tensor) -> Tensor:
    """By Lentz's method."""
    denominator = b.op("SUB", b.op("ADD", x, _number(b, 1)), a)
    inverse = b.op("DIV", _number(b, 1), denominator)
    ratio = b.broadcast(_number(b, 1 / _SMALLEST), b.shape)
    state = [denominator, ratio, inverse, inverse]
    return repeat(b, _TURNS, state, _extend, [a])[3]


def _extend(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    (denominator, ratio, inverse, value), (a,) = state, fixed
    one = b.scalar(1, a.dtype)
    k = b.op("ADD", b.cast(turn, a.dtype), one)
    numerator = b.op("MUL", k, b.op("SUB", a, k))
    denominator = b.op("ADD", denominator, b.scalar(2, a.dtype))
    inverse = b.op("ADD", b.op("MUL", numerator, inverse), denominator)
    inverse = b.op("DIV", one, _not_zero(b, inverse))
    ratio = _not_zero(b, b.op("ADD", denominator, b.op("DIV", numerator, ratio)))
    value = b.op("MUL", value, b.op("MUL", inverse, ratio))
    return [denominator, ratio, inverse, value]


def _not_zero(b: LoweringBuilder, x: Tensor) -> Tensor:
    smallest = b.scalar(_SMALLEST, x.dtype)
    return b.op("SELECT_V2", b.op("LESS", b.op("ABS", x), smallest), smallest, x)


def _with_edges(
    b: LoweringBuilder, a: Tensor, x: Tensor, value: Tensor, *, is_upper: bool
) -> Tensor:
    """Where an argument is 0 or infinite, the limit; NaN where both are, or one is negative."""
    zero, infinite, undefined = (_number(b, v) for v in (0, math.inf, math.nan))
    none, whole = (_number(b, v) for v in ((1, 0) if is_upper else (0, 1)))
    a_is_zero, x_is_zero = b.op("EQUAL", a, zero), b.op("EQUAL", x, zero)
    a_is_infinite, x_is_infinite = b.op("EQUAL", a, infinite), b.op("EQUAL", x, infinite)
    value = b.op("SELECT_V2", x_is_zero, none, value)
    value = b.op("SELECT_V2", a_is_zero, whole, value)
    value = b.op("SELECT_V2", x_is_infinite, whole, value)
    value = b.op("SELECT_V2", a_is_infinite, none, value)
    both = b.op(
        "LOGICAL_OR",
        b.op("LOGICAL_AND", a_is_zero, x_is_zero),
        b.op("LOGICAL_AND", a_is_infinite, x_is_infinite),
    )
    is_negative = b.op("LOGICAL_OR", b.op("LESS", a, zero), b.op("LESS", x, zero))
    return b.op("SELECT_V2", b.op("LOGICAL_OR", both, is_negative), undefined, value)
