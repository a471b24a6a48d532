"""The error functions, which not every format has, from operators that all have."""

from __future__ import annotations

from edgeconv.graph import Builder, Node, Tensor
from edgeconv.signature import DType

__all__ = ["expand_erf", "expand_erfc"]

# Numerator (odd powers, highest first) and denominator (even powers, highest first) of erf on [-4, 4], accurate to a
# few units in the last place of float32. Source: the rational minimax approximation that Eigen and XLA use.
_ERF_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_ERF_LIMIT = 4.0
# Source: Press et al., "Numerical Recipes", 6.2: erfc with a relative error below 1.2e-7 everywhere; highest power first.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
)  # fmt: skip
# Beyond it erfc is less than the smallest float32.
_ERFC_LIMIT = 11.0


def expand_erf(b: Builder, node: Node) -> Tensor:
    """A quotient of polynomials."""
    x = b.cast(node.input(0), DType.FLOAT32)
    limit = b.scalar(_ERF_LIMIT, x.dtype)
    x = b.op("MINIMUM", b.op("MAXIMUM", x, b.scalar(-_ERF_LIMIT, x.dtype)), limit)
    z = b.op("MUL", x, x)
    numerator = b.op("MUL", x, b.polynomial(z, _ERF_NUMERATOR))
    quotient = b.op("DIV", numerator, b.polynomial(z, _ERF_DENOMINATOR))
    return b.cast(quotient, node.output.dtype)


def expand_erfc(b: Builder, node: Node) -> Tensor:
    """With z = |x| and t = 1 / (1 + z/2): t exp(-z^2 + P(t)), and 2 minus it where x is negative.

    The square is split, so that its rounding does not grow in the exponential: z^2 = h^2 + (z - h) (z + h), h being z
    rounded down to sixteenths, whose square is exact. Source of the split: Cody, "Rational Chebyshev Approximations for
    the Error Function".
    """
    x = b.cast(node.input(0), DType.FLOAT32)
    z = b.op("MINIMUM", b.op("ABS", x), b.scalar(_ERFC_LIMIT, x.dtype))
    one, half, two = (b.scalar(value, x.dtype) for value in (1, 0.5, 2))
    t = b.op("DIV", one, b.op("ADD", one, b.op("MUL", z, half)))
    sixteenths = b.op("FLOOR", b.op("MUL", z, b.scalar(16, x.dtype)))
    rounded = b.op("MUL", sixteenths, b.scalar(1 / 16, x.dtype))
    rest = b.op("MUL", b.op("SUB", z, rounded), b.op("ADD", z, rounded))
    exponent = b.op("SUB", b.polynomial(t, _ERFC), rest)
    square = b.op("MUL", rounded, rounded)
    powers = b.op("MUL", b.op("EXP", b.op("NEG", square)), b.op("EXP", exponent))
    tail = b.op("MUL", t, powers)
    is_negative = b.op("LESS", x, b.scalar(0, x.dtype))
    chosen = b.op("SELECT_V2", is_negative, b.op("SUB", two, tail), tail)
    return b.cast(chosen, node.output.dtype)
