"""Integer arithmetic that TFLite has no kernel for: bits, shifts, and 64-bit division, powers and places of extremes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeconv.graph import Builder, Node, Tensor
from edgeconv.passes.integer_division import is_rounded_apart, truncated_remainder
from edgeconv.passes.integer_power import expand_power
from edgeconv.passes.legalize import Expansion
from edgeconv.signature import DType

__all__ = ["INTEGER_EXPANSIONS", "always", "is_int64"]

_HALF_WORD = 1 << 16
_WORD_BITS = 64
# The largest float32 below 2^63: more does not fit into int64.
_LARGEST = float(np.nextafter(np.float32(2**63), np.float32(0)))


def is_int64(node: Node) -> bool:
    """Whether an operator computes in int64."""
    return node.input(0).dtype == DType.INT64


def always(node: Node) -> bool:  # noqa: ARG001 - an expansion's interface
    """For an expansion that takes every node of its operator."""
    return True


# Bits. With s = a + b: s = (a xor b) + 2 (a and b), so "and" is half the difference. Each half word is done alone in int32,
# where the sum cannot overflow.


def _bitwise(b: Builder, node: Node) -> Tensor:
    """AND or OR: whole where the sum fits into int32, in halves else."""
    dtype = node.input(0).dtype
    left, right = (b.cast(node.input(i), DType.INT32) for i in (0, 1))
    if dtype in (DType.INT32, DType.UINT32):
        high = _and_small(b, _high(b, left), _high(b, right))
        low = _and_small(b, _low(b, left), _low(b, right))
        shared = b.op("ADD", b.op("MUL", high, b.scalar(_HALF_WORD, DType.INT32)), low)
    else:
        shared = _and_small(b, left, right)
    if node.op == "BITWISE_OR":
        shared = b.op("ADD", shared, b.op("BITWISE_XOR", left, right))
    return b.cast(shared, dtype)


def _and_small(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    double = b.op("SUB", b.op("ADD", x, y), b.op("BITWISE_XOR", x, y))
    return b.op("RIGHT_SHIFT", double, b.scalar(1, DType.INT32))


def _high(b: Builder, x: Tensor) -> Tensor:
    return b.op("RIGHT_SHIFT", x, b.scalar(16, DType.INT32))


def _low(b: Builder, x: Tensor) -> Tensor:
    return b.op("SUB", x, b.op("MUL", _high(b, x), b.scalar(_HALF_WORD, DType.INT32)))


def _in_halves(b: Builder, node: Node) -> Tensor:
    """Bits of 64: the same bytes as two numbers of 32, in a new last axis."""
    halves = [b.op("BITCAST", node.input(i), dtype="int32") for i in (0, 1)]
    rank = max(node.input(i).rank for i in (0, 1))
    wide = [b.op("RESHAPE", t, shape=(*[1] * (rank + 1 - t.rank), *t.shape)) for t in halves]
    return b.op("BITCAST", b.op(node.op, *wide), dtype="int64")


def _shift_left(b: Builder, node: Node) -> Tensor:
    x, count = (b.cast(node.input(i), DType.INT32) for i in (0, 1))
    shifted = b.op("MUL", x, b.op("POW", b.scalar(2, DType.INT32), count))
    return b.cast(shifted, node.output.dtype)


def _shift_left_wide(b: Builder, node: Node) -> Tensor:
    """A product with a power of two; what is shifted out altogether is lost."""
    return b.op("MUL", node.input(0), _power_of_two(b, node.input(1)))


def _shift_right_wide(b: Builder, node: Node) -> Tensor:
    """A quotient rounded down. Beyond 62 places there is the sign alone."""
    x, count = node.input(0), node.input(1)
    zero = b.scalar(0, DType.INT64)
    sign = b.op("NEG", b.op("CAST", b.op("LESS", x, zero), dtype="int64"))
    few = b.op("MINIMUM", count, b.scalar(_WORD_BITS - 2, DType.INT64))
    shifted = b.op("FLOOR_DIV", x, _power_of_two(b, few))
    is_far = b.op("LOGICAL_OR", b.op("GREATER", count, few), b.op("LESS", count, zero))
    return b.op("SELECT_V2", is_far, sign, shifted)


def _power_of_two(b: Builder, count: Tensor) -> Tensor:
    """From a table, whose last entry, 0, stands for what is out of range."""
    powers = np.append(2 ** np.arange(_WORD_BITS - 1), [-(2**63), 0]).astype(np.int64)
    last = b.scalar(_WORD_BITS, DType.INT64)
    is_negative = b.op("LESS", count, b.scalar(0, DType.INT64))
    place = b.op("SELECT_V2", is_negative, last, b.op("MINIMUM", count, last))
    return b.op("GATHER", b.constant(powers), place)


# Division of 64 bits. FLOOR_MOD has a kernel, so that what is left to divide divides evenly.


def _divide_down(b: Builder, node: Node) -> Tensor:
    """What is left is taken off towards zero: more could be beyond the smallest number."""
    x, y = node.input(0), node.input(1)
    rest = b.op("FLOOR_MOD", x, y)
    is_apart = is_rounded_apart(b, x, y, rest)
    surplus = b.op("SELECT_V2", is_apart, y, b.scalar(0, DType.INT64))
    quotient = _divide_evenly(b, b.op("SUB", x, b.op("SUB", rest, surplus)), y)
    return b.op("SUB", quotient, b.cast(is_apart, DType.INT64))


def _divide_to_zero(b: Builder, node: Node) -> Tensor:
    x, y = node.input(0), node.input(1)
    return _divide_evenly(b, b.op("SUB", x, truncated_remainder(b, x, y)), y)


def _divide_evenly(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Long division in float32: each of three steps finds 22 more bits, and the last one is exact."""
    divisor = b.op("CAST", y, dtype="float32")
    total: Tensor | None = None
    for _ in range(3):
        digit = b.op("ROUND", b.op("DIV", b.op("CAST", x, dtype="float32"), divisor))
        bounded = b.op("MAXIMUM", digit, b.scalar(-_LARGEST, DType.FLOAT32))
        bounded = b.op("MINIMUM", bounded, b.scalar(_LARGEST, DType.FLOAT32))
        whole = b.op("CAST", bounded, dtype="int64")
        x = b.op("SUB", x, b.op("MUL", whole, y))
        total = whole if total is None else b.op("ADD", total, whole)
    return total if total is not None else x


def _place_of_extreme(b: Builder, node: Node) -> Tensor:
    """The first place that holds the extreme: ARG_MAX of bools has a kernel."""
    x, axis = node.input(0), node.integer("axis")
    reduction = "REDUCE_MAX" if node.op == "ARG_MAX" else "REDUCE_MIN"
    extreme = b.op(reduction, x, axes=(axis,), keep_dims=True)
    found = b.op("EQUAL", x, extreme)
    return b.op("ARG_MAX", found, axis=axis, output_type=node.text("output_type"))


def _of_int64(build: Callable[[Builder, Node], Tensor]) -> Expansion:
    return Expansion(applies=is_int64, build=build)


INTEGER_EXPANSIONS: Mapping[str, tuple[Expansion, ...]] = {
    "ARG_MAX": (_of_int64(_place_of_extreme),),
    "ARG_MIN": (_of_int64(_place_of_extreme),),
    "BITWISE_AND": (_of_int64(_in_halves), Expansion(applies=always, build=_bitwise)),
    "BITWISE_OR": (_of_int64(_in_halves), Expansion(applies=always, build=_bitwise)),
    "BITWISE_XOR": (_of_int64(_in_halves),),
    "DIV": (_of_int64(_divide_to_zero),),
    "FLOOR_DIV": (_of_int64(_divide_down),),
    "LEFT_SHIFT": (_of_int64(_shift_left_wide), Expansion(applies=always, build=_shift_left)),
    "POW": (_of_int64(expand_power),),
    "RIGHT_SHIFT": (_of_int64(_shift_right_wide),),
}
