"""Special functions: gamma, Bessel functions of imaginary argument, and the scaled and inverse normal distributions.

Approximations for single precision. Source, where none is named: Abramowitz, Stegun, "Handbook of Mathematical Functions".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.transcendental import erfinv_of, tangent
from edgeconv.lowering.registry import Lowering, lower

# Lanczos' coefficients for g = 5. Source: Press et al., "Numerical Recipes", 6.1.
_LANCZOS = (
    76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 1.208650973866179e-3, -5.395239384953e-6,
)  # fmt: skip
_ROOT_OF_TWO_PI = 2.5066282746310005


def _number(b: LoweringBuilder, value: float) -> Tensor:
    return b.scalar(value, b.dtype)


@lower("aten.lgamma", "aten.special_gammaln")
def lgamma(b: LoweringBuilder, x: Tensor) -> Tensor:
    return log_gamma_of(b, b.cast(x, b.dtype))


def log_gamma_of(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Below 1/2 by reflection: log(pi / |sin(pi x)|) minus the value at 1 - x."""
    is_low = b.op("LESS", x, _number(b, 0.5))
    mirrored = b.op("SUB", _number(b, 1), x)
    right = _log_gamma_right(b, b.op("SELECT_V2", is_low, mirrored, x))
    offset = b.op("SUB", x, b.op("ROUND", x))
    sine = b.op("ABS", b.op("SIN", b.op("MUL", offset, _number(b, math.pi))))
    left = b.op("SUB", b.op("LOG", b.op("DIV", _number(b, math.pi), sine)), right)
    value = b.op("SELECT_V2", is_low, left, right)
    is_finite = b.op("LESS", b.op("ABS", x), _number(b, math.inf))
    is_number = b.op("EQUAL", x, x)
    ends = b.op("SELECT_V2", is_number, _number(b, math.inf), x)
    return b.op("SELECT_V2", is_finite, value, ends)


def _log_gamma_right(b: LoweringBuilder, x: Tensor) -> Tensor:
    """(x + 1/2) (log(x + 5.5) - 1) - 5 + log(sqrt(2 pi) S(x) / x), for x of at least 1/2."""
    series: Tensor = _number(b, 1.000000000190015)
    for place, coefficient in enumerate(_LANCZOS, start=1):
        part = b.op("DIV", _number(b, coefficient), b.op("ADD", x, _number(b, place)))
        series = b.op("ADD", series, part)
    height = b.op("SUB", b.op("LOG", b.op("ADD", x, _number(b, 5.5))), _number(b, 1))
    main = b.op("SUB", b.op("MUL", b.op("ADD", x, _number(b, 0.5)), height), _number(b, 5))
    rest = b.op("DIV", b.op("MUL", series, _number(b, _ROOT_OF_TWO_PI)), x)
    return b.op("ADD", main, b.op("LOG", rest))


_STEPS_TO_ASYMPTOTE = 6
# Of 1 / y^2, highest power first: -B_2k / 2k.
_DIGAMMA = (-1 / 252, 1 / 120, -1 / 12, 0.0)


@lower("aten.digamma", "aten.special_psi", "aten.special_digamma")
def digamma(b: LoweringBuilder, x: Tensor) -> Tensor:
    return digamma_of(b, b.cast(x, b.dtype))


def digamma_of(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Raised by the recurrence to where the asymptotic series holds (6.3.5, 6.3.18); below 1/2 by reflection (6.3.7)."""
    is_low = b.op("LESS", x, _number(b, 0.5))
    z = b.op("SELECT_V2", is_low, b.op("SUB", _number(b, 1), x), x)
    y = b.op("ADD", z, _number(b, _STEPS_TO_ASYMPTOTE))
    inverse = b.op("DIV", _number(b, 1), y)
    series = b.polynomial(b.op("MUL", inverse, inverse), _DIGAMMA)
    right = b.op("SUB", b.op("LOG", y), b.op("MUL", inverse, _number(b, 0.5)))
    right = b.op("ADD", right, series)
    for step in range(_STEPS_TO_ASYMPTOTE):
        right = b.op("SUB", right, b.op("DIV", _number(b, 1), b.op("ADD", z, _number(b, step))))
    offset = b.op("SUB", x, b.op("ROUND", x))
    cotangent = b.op(
        "DIV", _number(b, math.pi), tangent(b, b.op("MUL", offset, _number(b, math.pi)))
    )
    value = b.op("SELECT_V2", is_low, b.op("SUB", right, cotangent), right)
    is_pole = b.op(
        "LOGICAL_AND", b.op("LESS", x, _number(b, 0)), b.op("EQUAL", offset, _number(b, 0))
    )
    return b.op("SELECT_V2", is_pole, _number(b, math.nan), value)


# 9.8.1 to 9.8.4, highest power first: near 0 of (x / 3.75)^2, beyond of 3.75 / |x|.
_I0_NEAR = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
_I0_FAR = (
    0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319, 0.01328592, 0.39894228,
)  # fmt: skip
_I1_NEAR = (0.00032411, 0.00301532, 0.02658733, 0.15084934, 0.51498869, 0.87890594, 0.5)
_I1_FAR = (
    -0.00420059, 0.01787654, -0.02895312, 0.02282967, -0.01031555, 0.00163801, -0.00362018, -0.03988024, 0.39894228,
)  # fmt: skip
_BESSEL_LIMIT = 3.75


def _bessel(
    near: Sequence[float], far: Sequence[float], *names: str, is_odd: bool, is_scaled: bool
) -> Lowering:
    """I0 or I1; scaled ones are divided by exp(|x|)."""

    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        x = b.cast(x, b.dtype)
        size = b.op("ABS", x)
        ratio = b.op("MUL", x, _number(b, 1 / _BESSEL_LIMIT))
        inner = b.polynomial(b.op("MUL", ratio, ratio), near)
        inner = b.op("MUL", inner, size) if is_odd else inner
        # Where |x| is small the outer form is not used, and must not be infinite.
        beyond = b.op("MAXIMUM", size, _number(b, _BESSEL_LIMIT))
        outer = b.polynomial(b.op("DIV", _number(b, _BESSEL_LIMIT), beyond), far)
        outer = b.op("DIV", outer, b.op("SQRT", beyond))
        if is_scaled:
            inner = b.op("MUL", inner, b.op("EXP", b.op("NEG", size)))
        else:
            outer = b.op("MUL", outer, b.op("EXP", size))
        is_near = b.op("LESS", size, _number(b, _BESSEL_LIMIT))
        value = b.op("SELECT_V2", is_near, inner, outer)
        return b.op("MUL", value, b.op("SIGN", x)) if is_odd else value

    return Lowering(names, function)


i0 = _bessel(
    _I0_NEAR, _I0_FAR, "aten.i0", "aten.special_i0", "aten.special_modified_bessel_i0",
    is_odd=False, is_scaled=False,
)  # fmt: skip
i0e = _bessel(_I0_NEAR, _I0_FAR, "aten.special_i0e", is_odd=False, is_scaled=True)
i1 = _bessel(
    _I1_NEAR,
    _I1_FAR,
    "aten.special_i1",
    "aten.special_modified_bessel_i1",
    is_odd=True,
    is_scaled=False,
)
i1e = _bessel(_I1_NEAR, _I1_FAR, "aten.special_i1e", is_odd=True, is_scaled=True)

# Source: Press et al., "Numerical Recipes", 6.2; highest power of 1 / (1 + x / 2) first.
_ERFCX = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
)  # fmt: skip


@lower("aten.special_erfcx")
def erfcx(b: LoweringBuilder, x: Tensor) -> Tensor:
    """exp(x^2) erfc(x), which is t exp(P(t)), and 2 exp(x^2) minus it where x is negative."""
    x = b.cast(x, b.dtype)
    half = b.op("MUL", b.op("ABS", x), _number(b, 0.5))
    t = b.op("DIV", _number(b, 1), b.op("ADD", _number(b, 1), half))
    right = b.op("MUL", t, b.op("EXP", b.polynomial(t, _ERFCX)))
    double = b.op("MUL", b.op("EXP", b.op("MUL", x, x)), _number(b, 2))
    is_negative = b.op("LESS", x, _number(b, 0))
    return b.op("SELECT_V2", is_negative, b.op("SUB", double, right), right)


@lower("aten.special_ndtri")
def ndtri(b: LoweringBuilder, x: Tensor) -> Tensor:
    """The inverse error function of y = 2x - 1, of which (1 - y) (1 + y) is 4x (1 - x): that keeps a small x."""
    x = b.cast(x, b.dtype)
    rest = b.op("SUB", _number(b, 1), x)
    spread = b.op("MUL", b.op("MUL", x, rest), _number(b, 4))
    y = b.op("SUB", b.op("MUL", x, _number(b, 2)), _number(b, 1))
    return b.op("MUL", erfinv_of(b, y, spread), _number(b, math.sqrt(2)))
