"""Arithmetic, element by element."""

from __future__ import annotations

import math

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.elementwise import direct
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.passes.integer_division import truncated_remainder
from edgeconv.signature import DType

Operand = Tensor | Size | float


absolute = direct("ABS", "aten.abs", "aten.absolute")
square = direct("SQUARE", "aten.square")
neg = direct("NEG", "aten.neg", "aten.negative")


def _rounding(op: str, *names: str) -> Lowering:
    """A rounding operator: nothing to do for integers."""

    def function(b: LoweringBuilder, x: Tensor) -> Tensor:
        return b.op(op, x) if x.dtype.is_floating else x

    return Lowering(names, function)


@lower("aten.sign", "aten.sgn")
def sign(b: LoweringBuilder, x: Tensor) -> Tensor:
    """PyTorch gives 0 for NaN."""
    if x.dtype == DType.BOOL:
        return x
    signs = b.op("SIGN", x)
    if not x.dtype.is_floating:
        return signs
    return b.op("SELECT_V2", b.op("NOT_EQUAL", x, x), b.scalar(0, x.dtype), signs)


floor = _rounding("FLOOR", "aten.floor")
ceil = _rounding("CEIL", "aten.ceil")
round_half_even = _rounding("ROUND", "aten.round.default")


@lower("aten.round.decimals")
def round_decimals(b: LoweringBuilder, x: Tensor, decimals: int = 0) -> Tensor:
    if not x.dtype.is_floating:
        return x
    scale = b.scalar(10.0 ** abs(decimals), x.dtype)
    there, back = ("MUL", "DIV") if decimals > 0 else ("DIV", "MUL")
    return b.op(back, b.op("ROUND", b.op(there, x, scale)), scale)


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
        return _binary(b, "LOGICAL_OR", x, y) if alpha else b.broadcast(b.like(x, b.dtype), b.shape)
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
    """The whole quotient is (x - x mod y) / y, since the remainder is exact and the quotient is not: 1 // 0.1 is 9.

    By zero there is no remainder, but an infinite quotient.
    """
    if not b.dtype.is_floating:
        return _binary(b, "FLOOR_DIV", x, y)
    whole = b.op("SUB", b.like(x, b.dtype), _binary(b, "FLOOR_MOD", x, y))
    quotient = b.op("ROUND", _binary(b, "DIV", whole, y))
    if not isinstance(y, Tensor) and y != 0:
        return quotient
    is_zero = b.op("EQUAL", b.like(y, b.dtype), b.scalar(0, b.dtype))
    return b.op("SELECT_V2", is_zero, _binary(b, "DIV", x, y), quotient)


def _truncating_divide(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    if b.dtype.is_floating:
        return _truncate(b, _binary(b, "DIV", x, y))
    return _binary(b, "DIV", x, y)


@lower("aten.remainder")
def remainder(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    return _binary(b, "FLOOR_MOD", x, y)


@lower("aten.fmod")
def fmod(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
    """The remainder with the sign of `x`; of floating-point numbers, that of the magnitudes."""
    left, right = b.like(x, b.dtype), b.like(y, b.dtype)
    if not b.dtype.is_floating:
        return truncated_remainder(b, left, right)
    size = b.op("FLOOR_MOD", b.op("ABS", left), b.op("ABS", right))
    is_negative = b.op("LESS", left, b.scalar(0, b.dtype))
    return b.op("SELECT_V2", is_negative, b.op("NEG", size), size)


@lower("aten.reciprocal")
def reciprocal(b: LoweringBuilder, x: Tensor) -> Tensor:
    return _binary(b, "DIV", 1, x)


@lower("aten.maximum", "aten.max.other")
def maximum(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _binary(b, "LOGICAL_OR" if b.dtype == DType.BOOL else "MAXIMUM", x, y)


@lower("aten.minimum", "aten.min.other")
def minimum(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _binary(b, "LOGICAL_AND" if b.dtype == DType.BOOL else "MINIMUM", x, y)


@lower("aten.fmax")
def fmax(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _number_of_two(b, "MAXIMUM", x, y)


@lower("aten.fmin")
def fmin(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _number_of_two(b, "MINIMUM", x, y)


def _number_of_two(b: LoweringBuilder, op: str, x: Tensor, y: Tensor) -> Tensor:
    """The larger or smaller; where one is NaN, the other."""
    left, right = b.cast(x, b.dtype), b.cast(y, b.dtype)
    chosen = b.op("SELECT_V2", b.op("NOT_EQUAL", left, left), right, b.op(op, left, right))
    return b.op("SELECT_V2", b.op("NOT_EQUAL", right, right), left, chosen)


@lower("aten.signbit")
def signbit(b: LoweringBuilder, x: Tensor) -> Tensor:
    return has_sign(b, x)


def has_sign(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Whether a number is negative; -0.0 is, as 1 / -0.0 shows."""
    zero = b.scalar(0, x.dtype)
    is_negative = b.op("LESS", x, zero)
    if not x.dtype.is_floating:
        return is_negative
    inverse = b.op("DIV", b.scalar(1, x.dtype), x)
    return b.op("LOGICAL_OR", is_negative, b.op("LESS", inverse, zero))


@lower("aten.angle")
def angle(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Of a real number: pi where it is negative; NaN stays."""
    wide = b.cast(x, b.dtype)
    is_negative = b.op("LESS", wide, b.scalar(0, b.dtype))
    turned = b.op("SELECT_V2", is_negative, b.scalar(math.pi, b.dtype), b.scalar(0, b.dtype))
    return b.op("SELECT_V2", b.op("EQUAL", wide, wide), turned, wide)


@lower("aten.copysign")
def copysign(b: LoweringBuilder, x: Tensor, y: Operand) -> Tensor:
    size = b.op("ABS", b.cast(x, b.dtype))
    return b.op("SELECT_V2", has_sign(b, b.like(y, b.dtype)), b.op("NEG", size), size)


@lower("aten.hypot")
def hypot(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """The larger side times the root of 1 + the squared ratio, which cannot overflow; where there is none, the sum."""
    sides = [b.op("ABS", b.cast(t, b.dtype)) for t in (x, y)]
    longer, shorter = b.op("MAXIMUM", *sides), b.op("MINIMUM", *sides)
    ratio = b.op("DIV", shorter, longer)
    root = b.op("SQRT", b.op("ADD", b.op("MUL", ratio, ratio), b.scalar(1, b.dtype)))
    is_long = b.op("GREATER", longer, b.scalar(0, b.dtype))
    is_finite = b.op("LESS", longer, b.scalar(math.inf, b.dtype))
    has_ratio = b.op("LOGICAL_AND", is_long, is_finite)
    total = b.op("ADD", *sides)
    value = b.op("SELECT_V2", has_ratio, b.op("MUL", longer, root), total)
    value = b.op("SELECT_V2", b.op("EQUAL", total, total), value, total)  # kernels may lose NaN
    infinite = b.scalar(math.inf, b.dtype)
    for side in sides:  # an infinite side is longer than one that is no number
        value = b.op("SELECT_V2", b.op("EQUAL", side, infinite), infinite, value)
    return value


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
