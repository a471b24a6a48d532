"""What looks at the bits of single precision numbers: mantissa and exponent, and the neighbouring number."""

from __future__ import annotations

import math

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_MANTISSA_BITS = 23
_BIAS = 126  # of a mantissa from 1/2 on
_SMALLEST_NORMAL = 2.0**-126


def _expect_single(x: Tensor) -> None:
    if x.dtype != DType.FLOAT32:
        raise CannotLowerError(f"of {x.dtype}, whose bits are laid out otherwise")


@lower("aten.frexp.Tensor")
def frexp(b: LoweringBuilder, x: Tensor) -> list[Tensor]:
    """A mantissa from 1/2 up to 1 and an exponent; 0, infinities and NaN are their own mantissas.

    So are subnormal numbers, which runtimes take for 0.
    """
    _expect_single(x)
    size = b.op("ABS", x)
    is_finite = b.op("LESS", size, b.scalar(math.inf, x.dtype))
    is_normal = b.op("GREATER_EQUAL", size, b.scalar(_SMALLEST_NORMAL, x.dtype))
    is_plain = b.op("LOGICAL_AND", is_finite, is_normal)
    bits = b.op("BITCAST", x, dtype="int32")
    field = b.op("BITWISE_AND", b.op("RIGHT_SHIFT", bits, _int(b, _MANTISSA_BITS)), _int(b, 0xFF))
    exponent = b.op("SUB", field, _int(b, _BIAS))
    cleared = b.op("SUB", bits, b.op("LEFT_SHIFT", exponent, _int(b, _MANTISSA_BITS)))
    mantissa = b.op("SELECT_V2", is_plain, b.op("BITCAST", cleared, dtype="float32"), x)
    return [mantissa, b.op("SELECT_V2", is_plain, exponent, _int(b, 0))]


@lower("aten.nextafter")
def nextafter(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """One step up or down in the bits, which are in the order of the sizes; from 0 the smallest number."""
    x, y = b.cast(x, b.dtype), b.cast(y, b.dtype)
    _expect_single(x)
    x, y = b.broadcast(x, b.shape), b.broadcast(y, b.shape)
    zero = b.scalar(0, x.dtype)
    bits = b.op("BITCAST", x, dtype="int32")
    outward = b.op("EQUAL", b.op("LESS", x, y), b.op("GREATER", x, zero))
    step = b.op("SELECT_V2", outward, _int(b, 1), _int(b, -1))
    moved = b.op("BITCAST", b.op("ADD", bits, step), dtype="float32")
    smallest = b.op("SELECT_V2", b.op("GREATER", y, zero), _int(b, 1), _int(b, -(2**31) + 1))
    first = b.op("BITCAST", b.broadcast(smallest, b.shape), dtype="float32")
    moved = b.op("SELECT_V2", b.op("EQUAL", x, zero), first, moved)
    moved = b.op("SELECT_V2", b.op("EQUAL", x, y), y, moved)
    is_number = b.op("LOGICAL_AND", b.op("EQUAL", x, x), b.op("EQUAL", y, y))
    return b.op("SELECT_V2", is_number, moved, b.op("ADD", x, y))


def _int(b: LoweringBuilder, value: int) -> Tensor:
    return b.scalar(value, DType.INT32)
