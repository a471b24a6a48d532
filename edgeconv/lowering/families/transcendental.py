"""Exponentials, logarithms, and trigonometric and hyperbolic functions.

Each formula is chosen so that it loses nothing where its result is small. Source of the identities: Abramowitz, Stegun,
"Handbook of Mathematical Functions", chapter 4.
"""

from __future__ import annotations

import math

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.elementwise import direct
from edgeconv.lowering.registry import Lowering, lower

exp = direct("EXP", "aten.exp")
log = direct("LOG", "aten.log")
sqrt = direct("SQRT", "aten.sqrt")
sin = direct("SIN", "aten.sin")
cos = direct("COS", "aten.cos")
atan2 = direct("ATAN2", "aten.atan2", "aten.arctan2")
erf = direct("ERF", "aten.erf", "aten.special_erf")
erfc = direct("ERFC", "aten.erfc", "aten.special_erfc")


@lower("aten.rsqrt")
def rsqrt(b: LoweringBuilder, x: Tensor) -> Tensor:
    """A division, since XNNPACK's reciprocal root of 0 is NaN, not infinity."""
    return b.op("DIV", b.scalar(1, b.dtype), b.op("SQRT", b.cast(x, b.dtype)))


@lower("aten.log1p")
def log1p(b: LoweringBuilder, x: Tensor) -> Tensor:
    return accurate_log1p(b, b.cast(x, b.dtype))


_SMALL = 0.5
# Minimax polynomial of 2 artanh(s) / s in s^2 where |s| < 1/3, with a relative error below 4e-9; highest power first.
_TWICE_ARTANH = (0.28174657, 0.27961419, 0.40024854, 0.66666316, 2.00000001)


def accurate_log1p(b: LoweringBuilder, x: Tensor) -> Tensor:
    """log(1 + x) without losing small x.

    Where |x| < 1/2 it is 2 artanh(s) with s = x / (2 + x), a polynomial; elsewhere the logarithm itself. TFLite's kernels of
    the logarithm are not accurate enough near 1 for `corrected_log1p`. Source: Abramowitz, Stegun, "Handbook", 4.1.27.
    """
    s = b.op("DIV", x, b.op("ADD", x, b.scalar(2, x.dtype)))
    z = b.op("MUL", s, s)
    near = b.op("MUL", s, b.polynomial(z, _TWICE_ARTANH))
    far = b.op("LOG", b.op("ADD", x, b.scalar(1, x.dtype)))
    return b.op("SELECT_V2", _is_far(b, x), far, near)


def corrected_log1p(b: LoweringBuilder, x: Tensor) -> Tensor:
    """log(1 + x) as the logarithm of the rounded sum u, and where x is small (x - (u - 1)) / u for what was rounded off.

    Source: Kahan's correction, in its additive form; Goldberg, "What Every Computer Scientist Should Know", theorem 4,
    has the other.
    """
    one = b.scalar(1, x.dtype)
    u = b.op("ADD", x, one)
    far = b.op("LOG", u)
    near = b.op("ADD", far, b.op("DIV", b.op("SUB", x, b.op("SUB", u, one)), u))
    return b.op("SELECT_V2", _is_far(b, x), far, near)


def _is_far(b: LoweringBuilder, x: Tensor) -> Tensor:
    """NaN is not: XNNPACK's exponential would make a number of it."""
    return b.op("GREATER_EQUAL", b.op("ABS", x), b.scalar(_SMALL, x.dtype))


@lower("aten.expm1", "aten.special_expm1")
def expm1(b: LoweringBuilder, x: Tensor) -> Tensor:
    """exp(x) - 1, and 2t / (1 - t) with t = tanh(x / 2) where x is small, which loses nothing."""
    x = b.cast(x, b.dtype)
    one = b.scalar(1, x.dtype)
    t = b.op("TANH", b.op("MUL", x, b.scalar(0.5, x.dtype)))
    near = b.op("DIV", b.op("ADD", t, t), b.op("SUB", one, t))
    return b.op("SELECT_V2", _is_far(b, x), b.op("SUB", b.op("EXP", x), one), near)


def _logarithm(base: float, name: str) -> Lowering:
    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        scale = b.scalar(1 / math.log(base), b.dtype)
        return b.op("MUL", b.op("LOG", b.cast(x, b.dtype)), scale)

    return Lowering((name,), function)


log2 = _logarithm(2, "aten.log2")
log10 = _logarithm(10, "aten.log10")


@lower("aten.exp2")
def exp2(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("POW", b.scalar(2, b.dtype), b.cast(x, b.dtype))


# Pi / 2 in three parts, each but the last so short that its products with small whole numbers are exact.
_HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8)
# Minimax polynomial of (tan(x) - x) / x^3 in x^2 on [-pi/4, pi/4]; highest power first. Source: Moshier, Cephes, tanf.
_TAN = (
    9.38540185543e-3, 3.11992232697e-3, 2.44301354525e-2, 5.34112807005e-2, 1.33387994085e-1, 3.33331568548e-1,
)  # fmt: skip


@lower("aten.tan")
def tan(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Reduced by quarter turns to [-pi/4, pi/4], of whose tangent every other quarter takes -1 / tan.

    The quotient of sine and cosine would lose the digits of the cosine near its zeros. Source: Cody, Waite, "Software
    Manual for the Elementary Functions", chapter 9.
    """
    return tangent(b, b.cast(x, b.dtype))


def tangent(b: LoweringBuilder, x: Tensor) -> Tensor:
    """The tangent of a floating-point tensor."""
    turns = b.op("ROUND", b.op("MUL", x, b.scalar(2 / math.pi, x.dtype)))
    r = x
    for part in _HALF_PI:
        r = b.op("SUB", r, b.op("MUL", turns, b.scalar(part, x.dtype)))
    z = b.op("MUL", r, r)
    cube = b.op("MUL", b.op("MUL", z, r), b.polynomial(z, _TAN))
    near = b.op("ADD", r, cube)
    is_odd = b.op("NOT_EQUAL", b.op("FLOOR_MOD", turns, b.scalar(2, x.dtype)), b.scalar(0, x.dtype))
    return b.op("SELECT_V2", is_odd, b.op("DIV", b.scalar(-1, x.dtype), near), near)


def _half_difference(b: LoweringBuilder, x: Tensor) -> Tensor:
    """sqrt((1 - x) (1 + x)), the cosine of the angle whose sine is x."""
    one = b.scalar(1, x.dtype)
    return b.op("SQRT", b.op("MUL", b.op("SUB", one, x), b.op("ADD", one, x)))


@lower("aten.asin", "aten.arcsin")
def asin(b: LoweringBuilder, x: Tensor) -> Tensor:
    x = b.cast(x, b.dtype)
    return b.op("ATAN2", x, _half_difference(b, x))


@lower("aten.acos", "aten.arccos")
def acos(b: LoweringBuilder, x: Tensor) -> Tensor:
    x = b.cast(x, b.dtype)
    return b.op("ATAN2", _half_difference(b, x), x)


@lower("aten.atan", "aten.arctan")
def atan(b: LoweringBuilder, x: Tensor) -> Tensor:
    x = b.cast(x, b.dtype)
    return b.op("ATAN2", x, b.scalar(1, x.dtype))


@lower("aten.sinh")
def sinh(b: LoweringBuilder, x: Tensor) -> Tensor:
    """2t / (1 - t^2) with t = tanh(x / 2) where x is small."""
    x = b.cast(x, b.dtype)
    half, one = b.scalar(0.5, x.dtype), b.scalar(1, x.dtype)
    t = b.op("TANH", b.op("MUL", x, half))
    near = b.op("DIV", b.op("ADD", t, t), b.op("SUB", one, b.op("MUL", t, t)))
    far = b.op("MUL", b.op("SUB", b.op("EXP", x), b.op("EXP", b.op("NEG", x))), half)
    return b.op("SELECT_V2", _is_far(b, x), far, near)


@lower("aten.cosh")
def cosh(b: LoweringBuilder, x: Tensor) -> Tensor:
    x = b.cast(x, b.dtype)
    total = b.op("ADD", b.op("EXP", x), b.op("EXP", b.op("NEG", x)))
    return b.op("MUL", total, b.scalar(0.5, x.dtype))


# Where x^2 is far beyond the precision of 1, both inverses are log(2x); the square must not overflow.
_LARGE = 1e8


def _log_of_double(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("ADD", b.op("LOG", x), b.scalar(math.log(2), x.dtype))


@lower("aten.asinh", "aten.arcsinh")
def asinh(b: LoweringBuilder, x: Tensor) -> Tensor:
    """With a = |x|: log1p(a + a^2 / (1 + sqrt(1 + a^2)))."""
    x = b.cast(x, b.dtype)
    one = b.scalar(1, x.dtype)
    size = b.op("ABS", x)
    square = b.op("MUL", size, size)
    root = b.op("SQRT", b.op("ADD", square, one))
    near = accurate_log1p(b, b.op("ADD", size, b.op("DIV", square, b.op("ADD", root, one))))
    is_large = b.op("GREATER", size, b.scalar(_LARGE, x.dtype))
    return b.op("MUL", b.op("SIGN", x), b.op("SELECT_V2", is_large, _log_of_double(b, size), near))


@lower("aten.acosh", "aten.arccosh")
def acosh(b: LoweringBuilder, x: Tensor) -> Tensor:
    """With t = x - 1: log1p(t + sqrt(t) sqrt(t + 2)); the roots apart, so that there is none below -1 either."""
    x = b.cast(x, b.dtype)
    t = b.op("SUB", x, b.scalar(1, x.dtype))
    root = b.op("MUL", b.op("SQRT", t), b.op("SQRT", b.op("ADD", t, b.scalar(2, x.dtype))))
    near = accurate_log1p(b, b.op("ADD", t, root))
    is_large = b.op("GREATER", x, b.scalar(_LARGE, x.dtype))
    return b.op("SELECT_V2", is_large, _log_of_double(b, x), near)


@lower("aten.atanh", "aten.arctanh")
def atanh(b: LoweringBuilder, x: Tensor) -> Tensor:
    x = b.cast(x, b.dtype)
    difference = b.op("SUB", accurate_log1p(b, x), accurate_log1p(b, b.op("NEG", x)))
    return b.op("MUL", difference, b.scalar(0.5, x.dtype))


# Source: Giles, "Approximating the erfinv function", single precision; highest power first.
_ERFINV_CENTER = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_ERFINV_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


@lower("aten.erfinv", "aten.special_erfinv")
def erfinv(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Times x, a polynomial of w = -log((1 - x) (1 + x)), another one in the tails, where w is above 5."""
    x = b.cast(x, b.dtype)
    one = b.scalar(1, x.dtype)
    return erfinv_of(b, x, b.op("MUL", b.op("SUB", one, x), b.op("ADD", one, x)))


def erfinv_of(b: LoweringBuilder, x: Tensor, spread: Tensor) -> Tensor:
    """The inverse error function of x, given (1 - x) (1 + x); infinite where that is 0."""
    w = b.op("NEG", b.op("LOG", spread))
    center = b.polynomial(b.op("SUB", w, b.scalar(2.5, x.dtype)), _ERFINV_CENTER)
    tail = b.polynomial(b.op("SUB", b.op("SQRT", w), b.scalar(3, x.dtype)), _ERFINV_TAIL)
    is_tail = b.op("GREATER_EQUAL", w, b.scalar(5, x.dtype))
    value = b.op("MUL", x, b.op("SELECT_V2", is_tail, tail, center))
    is_end = b.op("EQUAL", spread, b.scalar(0, x.dtype))
    return b.op("SELECT_V2", is_end, b.op("MUL", x, b.scalar(math.inf, x.dtype)), value)
