"""Bit operations; of bools they are logic."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.arithmetic import Operand
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.signature import DType

_OF_BOOLS: Mapping[str, str] = {
    "BITWISE_AND": "LOGICAL_AND",
    "BITWISE_OR": "LOGICAL_OR",
    "BITWISE_XOR": "NOT_EQUAL",
}


def _bitwise(op: str, *names: str) -> Lowering:
    def function(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
        chosen = _OF_BOOLS[op] if b.dtype == DType.BOOL else op
        return b.op(chosen, b.like(x, b.dtype), b.like(y, b.dtype))

    return Lowering(names, function)


bitwise_and = _bitwise("BITWISE_AND", "aten.bitwise_and", "aten.__and__")
bitwise_or = _bitwise("BITWISE_OR", "aten.bitwise_or", "aten.__or__")
bitwise_xor = _bitwise("BITWISE_XOR", "aten.bitwise_xor", "aten.__xor__")


def _shift(op: str, *names: str) -> Lowering:
    def function(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
        return b.op(op, b.like(x, b.dtype), b.like(y, b.dtype))

    return Lowering(names, function)


left_shift = _shift("LEFT_SHIFT", "aten.bitwise_left_shift", "aten.__lshift__")
right_shift = _shift("RIGHT_SHIFT", "aten.bitwise_right_shift", "aten.__rshift__")


@lower("aten.bitwise_not")
def bitwise_not(b: LoweringBuilder, x: Tensor) -> Tensor:
    """-1 - x, which for unsigned numbers is the largest one minus x."""
    if x.dtype == DType.BOOL:
        return b.op("LOGICAL_NOT", x)
    return b.op("SUB", b.scalar(-1, x.dtype), x)
