"""Powers, and the greatest common divisor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.arithmetic import Operand
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@lower("aten.pow.Tensor_Scalar")
def pow_scalar(b: LoweringBuilder, x: Tensor, exponent: float) -> Tensor:
    x = b.cast(x, b.dtype)
    if exponent in (1, 2, 3, 4):
        return _multiply_out(b, x, int(exponent))
    if b.dtype.is_integer:
        return _integer_power(b, x, b.scalar(exponent, x.dtype))
    if exponent in _POWERS and b.dtype.is_floating:
        return _POWERS[exponent](b, x)
    return b.op("POW", x, b.scalar(exponent, x.dtype))


def _multiply_out(b: LoweringBuilder, x: Tensor, exponent: int) -> Tensor:
    if exponent == 1:
        return x
    squared = b.op("MUL", x, x)
    return squared if exponent == 2 else b.op("MUL", squared, x if exponent == 3 else squared)


_POWERS: dict[float, Callable[[LoweringBuilder, Tensor], Tensor]] = {
    0.5: lambda b, x: b.op("SQRT", x),
    -0.5: lambda b, x: b.op("DIV", b.scalar(1, x.dtype), b.op("SQRT", x)),
    -1: lambda b, x: b.op("DIV", b.scalar(1, x.dtype), x),
}


@lower("aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def pow_tensor(b: LoweringBuilder, x: Operand, exponent: Operand) -> Tensor:
    if b.dtype == DType.BOOL:  # 0 to the power of 1 alone is 0
        return b.op(
            "LOGICAL_OR", b.like(x, b.dtype), b.op("LOGICAL_NOT", b.like(exponent, b.dtype))
        )
    if b.dtype.is_integer:
        return _integer_power(b, b.like(x, b.dtype), b.like(exponent, b.dtype))
    return b.op("POW", b.like(x, b.dtype), b.like(exponent, b.dtype))


def _integer_power(b: LoweringBuilder, x: Tensor, exponent: Tensor) -> Tensor:
    """A negative exponent leaves 0, but for a base of 1 or -1, of which the sign of the exponent makes no difference."""
    if exponent.constant is not None and np.asarray(exponent.constant, np.int64).min() >= 0:
        return b.op("POW", x, exponent)
    power = b.op("POW", x, b.op("ABS", exponent))
    is_unit = b.op("EQUAL", b.op("MUL", x, x), b.scalar(1, b.dtype))
    is_whole = b.op("GREATER_EQUAL", exponent, b.scalar(0, b.dtype))
    is_kept = b.op("LOGICAL_OR", is_whole, is_unit)
    return b.op("SELECT_V2", is_kept, power, b.scalar(0, b.dtype))


@lower("aten.gcd")
def gcd(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return _common_divisor(b, x, y)


@lower("aten.lcm")
def lcm(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """The product over the greatest common divisor; 0 where both are."""
    left, right = b.cast(x, b.dtype), b.cast(y, b.dtype)
    divisor = b.op("MAXIMUM", _common_divisor(b, left, right), b.scalar(1, b.dtype))
    return b.op("ABS", b.op("MUL", b.op("DIV", left, divisor), right))


def _common_divisor(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """Euclid's algorithm, unrolled to as many divisions as two numbers of a dtype can take (Lamé's theorem)."""
    left, right = (b.op("ABS", b.cast(t, b.dtype)) for t in (x, y))
    left, right = (b.broadcast(t, b.shape) for t in (left, right))
    zero, one = b.scalar(0, b.dtype), b.scalar(1, b.dtype)
    for _ in range(_LAME[b.dtype.size_bytes]):
        is_done = b.op("EQUAL", right, zero)
        rest = b.op("FLOOR_MOD", left, b.op("SELECT_V2", is_done, one, right))
        left, right = (
            b.op("SELECT_V2", is_done, left, right),
            b.op("SELECT_V2", is_done, right, rest),
        )
    return left


# Divisions that the largest two numbers of so many bytes can take: five for each decimal digit of the smaller one.
_LAME = {1: 12, 2: 23, 4: 46, 8: 92}
