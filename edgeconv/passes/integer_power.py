"""Powers of 64-bit integers, which kernels compute in floating point, if at all."""

from __future__ import annotations

from edgeconv.graph import Builder, Node, Tensor
from edgeconv.signature import DType

__all__ = ["expand_power"]


def expand_power(b: Builder, node: Node) -> Tensor:
    """Square and multiply over the bits of the exponent, which is not negative."""
    base, rest = node.input(0), b.op("CAST", node.input(1), dtype="int32")
    one, two = b.scalar(1, DType.INT64), b.scalar(2, DType.INT32)
    result, square = one, base
    for _ in range(_exponent_bits(node.input(1))):
        is_odd = b.op("EQUAL", b.op("FLOOR_MOD", rest, two), b.scalar(1, DType.INT32))
        result = b.op("MUL", result, b.op("SELECT_V2", is_odd, square, one))
        square = b.op("MUL", square, square)
        rest = b.op("FLOOR_DIV", rest, two)
    return result


def _exponent_bits(exponent: Tensor) -> int:
    """How many bits are looked at: those that a known exponent has, else those that reach beyond 64."""
    if exponent.constant is None or exponent.constant.min() < 0:
        return 7
    return max(int(exponent.constant.max()).bit_length(), 1)
