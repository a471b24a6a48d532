"""Arithmetic, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgeconv.dims import Size
from edgeconv.graph import GraphError, Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.signature import DType

Operand = Tensor | Size | float


def _direct(op: str, *names: str) -> Lowering:
    """An operator that is one graph operator on the result's dtype."""

    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        return b.op(op, b.cast(x, b.dtype))

    return Lowering(names, function)


exp = _direct("EXP", "aten.exp")
log = _direct("LOG", "aten.log")
sqrt = _direct("SQRT", "aten.sqrt")
rsqrt = _direct("RSQRT", "aten.rsqrt")
sin = _direct("SIN", "aten.sin")
cos = _direct("COS", "aten.cos")
square = _direct("SQUARE", "aten.square")
erf = _direct("ERF", "aten.erf", "aten.special_erf")
neg = _direct("NEG", "aten.neg")
sign = _direct("SIGN", "aten.sign", "aten.sgn")


def _rounding(op: str, *names: str) -> Lowering:
    """A rounding operator: nothing to do for integers."""

    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        return b.op(op, x) if x.dtype.is_floating else x

    return Lowering(names, function)


floor = _rounding("FLOOR", "aten.floor")
ceil = _rounding("CEIL", "aten.ceil")
round_half_even = _rounding("ROUND", "aten.round.default")


@lower("aten.trunc", "aten.fix")
def trunc(b: LoweringBuilder, x: Tensor) -> Tensor:
    return _truncate(b, x)


def _truncate(b: LoweringBuilder, x: Tensor) -> Tensor:
    if not x.dtype.is_floating:
        return x
    is_negative = b.op("LESS", x, b.scalar(0, x.dtype))
    return b.op("SELECT_V2", is_negative, b.op("CEIL", x), b.op("FLOOR", x))


def _binary(b: LoweringBuilder, op: str, x: Operand, y: Operand) -> Tensor:
    return b.op(op, b.like(x, b.dtype), b.like(y, b.dtype))


@lower("aten.add")
def add(b: LoweringBuilder, x: Operand, y: Operand, alpha: float = 1) -> Tensor:
    if b.dtype == DType.BOOL:
        return _binary(b, "LOGICAL_OR", x, y)
    return _binary(b, "ADD", x, _scaled(b, y, alpha))


@lower("aten.sub", "aten.subtract")
def sub(b: LoweringBuilder, x: Operand, y: Operand, alpha: float = 1) -> Tensor:
    return _binary(b, "SUB", x, _scaled(b, y, alpha))


@lower("aten.rsub")
def rsub(b: LoweringBuilder, x: Operand, y: Operand, alpha: float = 1) -> Tensor:
    return _binary(b, "SUB", y, _scaled(b, x, alpha))


def _scaled(b: LoweringBuilder, y: Operand, alpha: float) -> Operand:
    return y if alpha == 1 else _binary(b, "MUL", y, alpha)


@lower("aten.mul", "aten.multiply")
def mul(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    if b.dtype == DType.BOOL:
        return _binary(b, "LOGICAL_AND", x, y)
    return _binary(b, "MUL", x, y)


@lower("aten.div", "aten.divide", "aten.true_divide")
def div(b: LoweringBuilder, x: Operand, y: Operand, rounding_mode: str | None = None) -> Tensor:
    if rounding_mode == "floor":
        return _floor_divide(b, x, y)
    if rounding_mode == "trunc":
        return _truncating_divide(b, x, y)
    if isinstance(y, int | float) and y != 0 and math.frexp(y)[0] == 0.5:
        return _binary(b, "MUL", x, 1 / y)  # dividing by a power of two is exact either way
    return _binary(b, "DIV", x, y)


@lower("aten.floor_divide")
def floor_divide(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    return _floor_divide(b, x, y)


def _floor_divide(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    if b.dtype.is_floating:
        return b.op("FLOOR", _binary(b, "DIV", x, y))
    return _binary(b, "FLOOR_DIV", x, y)


def _truncating_divide(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    if b.dtype.is_floating:
        return _truncate(b, _binary(b, "DIV", x, y))
    left, right = b.like(x, b.dtype), b.like(y, b.dtype)
    magnitude = b.op("FLOOR_DIV", b.op("ABS", left), b.op("ABS", right))
    return b.op("MUL", magnitude, b.op("MUL", b.op("SIGN", left), b.op("SIGN", right)))


@lower("aten.remainder")
def remainder(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    return _binary(b, "FLOOR_MOD", x, y)


@lower("aten.fmod")
def fmod(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    quotient = _truncating_divide(b, x, y)
    return b.op("SUB", b.like(x, b.dtype), b.op("MUL", quotient, b.like(y, b.dtype)))


@lower("aten.reciprocal")
def reciprocal(b: LoweringBuilder, x: Tensor) -> Tensor:
    return _binary(b, "DIV", 1, x)


@lower("aten.maximum", "aten.max.other")
def maximum(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _binary(b, "MAXIMUM", x, y)


@lower("aten.minimum", "aten.min.other")
def minimum(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _binary(b, "MINIMUM", x, y)


@lower("aten.atan2")
def atan2(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _binary(b, "ATAN2", x, y)


@lower("aten.pow.Tensor_Scalar")
def pow_scalar(b: LoweringBuilder, x: Tensor, exponent: float) -> Tensor:
    x = b.cast(x, b.dtype)
    simple: dict[float, Callable[[], Tensor]] = {
        0.5: lambda: b.op("SQRT", x),
        -0.5: lambda: b.op("RSQRT", x),
        1: lambda: x,
        2: lambda: b.op("MUL", x, x),
        3: lambda: b.op("MUL", b.op("MUL", x, x), x),
        -1: lambda: b.op("DIV", b.scalar(1, x.dtype), x),
    }
    if exponent in simple and (b.dtype.is_floating or exponent > 0):
        return simple[exponent]()
    return b.op("POW", x, b.scalar(exponent, x.dtype))


@lower("aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def pow_tensor(b: LoweringBuilder, x: Operand, exponent: Operand) -> Tensor:
    return _binary(b, "POW", x, exponent)


@lower("aten.log1p")
def log1p(b: LoweringBuilder, x: Tensor) -> Tensor:
    return accurate_log1p(b, b.cast(x, b.dtype))


_SMALL = 0.5


def accurate_log1p(b: LoweringBuilder, x: Tensor) -> Tensor:
    """log(1 + x) without losing small x.

    Where |x| < 1/2 it is 2 artanh(s) with s = x / (2 + x), by the series 2s (1 + s^2/3 + s^4/5 + ...), whose terms
    beyond s^10 are below 1e-9; elsewhere the logarithm itself. Kernels of the logarithm are not accurate enough
    near 1 for Kahan's correction to work. Source: Abramowitz, Stegun, "Handbook", 4.1.27.
    """
    s = b.op("DIV", x, b.op("ADD", x, b.scalar(2, x.dtype)))
    z = b.op("MUL", s, s)
    series = b.scalar(1 / 11, x.dtype)
    for odd in (9, 7, 5, 3, 1):
        series = b.op("ADD", b.op("MUL", series, z), b.scalar(1 / odd, x.dtype))
    near = b.op("MUL", b.op("ADD", s, s), series)
    far = b.op("LOG", b.op("ADD", x, b.scalar(1, x.dtype)))
    return b.op("SELECT_V2", _is_small(b, x), near, far)


def _is_small(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("LESS", b.op("ABS", x), b.scalar(_SMALL, x.dtype))


@lower("aten.expm1", "aten.special_expm1")
def expm1(b: LoweringBuilder, x: Tensor) -> Tensor:
    """exp(x) - 1, and 2t / (1 - t) with t = tanh(x / 2) where x is small, which loses nothing."""
    x = b.cast(x, b.dtype)
    one = b.scalar(1, x.dtype)
    t = b.op("TANH", b.op("MUL", x, b.scalar(0.5, x.dtype)))
    near = b.op("DIV", b.op("ADD", t, t), b.op("SUB", one, t))
    return b.op("SELECT_V2", _is_small(b, x), near, b.op("SUB", b.op("EXP", x), one))


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


@lower("aten.tan")
def tan(b: LoweringBuilder, x: Tensor) -> Tensor:
    x = b.cast(x, b.dtype)
    return b.op("DIV", b.op("SIN", x), b.op("COS", x))


@lower("aten.addcmul")
def addcmul(b: LoweringBuilder, x: Tensor, y: Tensor, z: Tensor, value: float = 1) -> Tensor:
    return b.op("ADD", b.cast(x, b.dtype), _binary(b, "MUL", _scaled(b, y, value), z))


@lower("aten.addcdiv")
def addcdiv(b: LoweringBuilder, x: Tensor, y: Tensor, z: Tensor, value: float = 1) -> Tensor:
    return b.op("ADD", b.cast(x, b.dtype), _binary(b, "DIV", _scaled(b, y, value), z))


@lower("aten.lerp")
def lerp(b: LoweringBuilder, start: Tensor, end: Tensor, weight: Operand) -> Tensor:
    way = b.op("SUB", end, start)
    return b.op("ADD", start, _binary(b, "MUL", way, weight))


@lower("aten.clamp", "aten.clip", "aten.clamp_min")
def clamp(
    b: LoweringBuilder,
    x: Tensor,
    min: Operand | None = None,  # noqa: A002 - the schema's own names
    max: Operand | None = None,  # noqa: A002
) -> Tensor:
    return clamp_between(b, b.cast(x, b.dtype), min, max)


@lower("aten.clamp_max")
def clamp_max(b: LoweringBuilder, x: Tensor, max: Operand) -> Tensor:  # noqa: A002
    return clamp_between(b, b.cast(x, b.dtype), None, max)


def clamp_between(
    b: LoweringBuilder, x: Tensor, low: Operand | None, high: Operand | None
) -> Tensor:
    """`x` limited to a range; a missing or infinite limit does not hold."""
    if x.dtype == DType.FLOAT32 and (low, high) in _FUSED_RANGES:
        return b.op(_FUSED_RANGES[low, high], x)
    if low is not None and low != -math.inf:
        x = b.op("MAXIMUM", x, b.like(low, x.dtype))
    if high is not None and high != math.inf:
        x = b.op("MINIMUM", x, b.like(high, x.dtype))
    return x


_FUSED_RANGES: dict[tuple[object, object], str] = {
    (0, None): "RELU",
    (0, math.inf): "RELU",
    (0, 6): "RELU6",
    (-1, 1): "RELU_N1_TO_1",
    (0, 1): "RELU_0_TO_1",
}


@lower("aten.bitwise_xor", "aten.logical_xor")
def bitwise_xor(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    if b.dtype == DType.BOOL:
        return b.op("NOT_EQUAL", b.like(x, DType.BOOL), b.like(y, DType.BOOL))
    return _binary(b, "BITWISE_XOR", x, y)


@lower("aten.bitwise_not")
def bitwise_not(b: LoweringBuilder, x: Tensor) -> Tensor:
    if x.dtype == DType.BOOL:
        return b.op("LOGICAL_NOT", x)
    if not x.dtype.value.startswith("int"):
        raise GraphError(f"bitwise_not of {x.dtype}")
    return b.op("SUB", b.scalar(-1, x.dtype), x)
