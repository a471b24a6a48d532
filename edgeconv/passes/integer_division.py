"""Integer division rounded towards zero and rounded down, made of each other without leaving the range of the dtype."""

from __future__ import annotations

from edgeconv.graph import Builder, Node, Tensor

__all__ = ["expand_floor_division", "is_rounded_apart", "truncated_remainder"]


def truncated_remainder(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """What a division rounded towards zero leaves: FLOOR_MOD's remainder is one `y` too much where the signs differ."""
    rest = b.op("FLOOR_MOD", x, y)
    if x.dtype.is_unsigned:
        return rest
    surplus = b.op("SELECT_V2", is_rounded_apart(b, x, y, rest), y, b.scalar(0, x.dtype))
    return b.op("SUB", rest, surplus)


def is_rounded_apart(b: Builder, x: Tensor, y: Tensor, rest: Tensor) -> Tensor:
    """Whether x / y rounded down is another number than rounded towards zero; `rest` is what FLOOR_MOD leaves of it."""
    zero = b.scalar(0, x.dtype)
    is_broken = b.op("NOT_EQUAL", rest, zero)
    is_negative = b.op("LESS", x, zero)
    if y.constant is None or y.constant.min(initial=1) < 0:
        is_negative = b.op("NOT_EQUAL", is_negative, b.op("LESS", y, zero))
    return b.op("LOGICAL_AND", is_broken, is_negative)


def expand_floor_division(b: Builder, node: Node) -> Tensor:
    """A quotient rounded down, from a kernel that rounds towards zero."""
    x, y = node.input(0), node.input(1)
    quotient = b.op("DIV", x, y)
    if x.dtype.is_unsigned:
        return quotient
    is_apart = is_rounded_apart(b, x, y, b.op("FLOOR_MOD", x, y))
    return b.op("SUB", quotient, b.cast(is_apart, x.dtype))
