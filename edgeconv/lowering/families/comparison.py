"""Comparisons, logic and selection."""

from __future__ import annotations

import torch

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder, dtype_of
from edgeconv.lowering.families.arithmetic import Operand
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.signature import DType


def promote(x: Operand, y: Operand) -> DType:
    """The dtype PyTorch compares two operands in; a number takes part by its kind only."""
    return dtype_of(torch.result_type(_example(x), _example(y)))


def _example(value: Operand) -> torch.Tensor | float:
    if isinstance(value, Tensor):
        dtype: torch.dtype = getattr(torch, value.dtype.value)
        return torch.empty((1,) * value.rank, dtype=dtype)
    return value if isinstance(value, bool | int | float) else 1


def _comparison(op: str, *names: str) -> Lowering:
    def function(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
        dtype = promote(x, y)
        return b.op(op, b.like(x, dtype), b.like(y, dtype))

    return Lowering(names, function)


eq = _comparison("EQUAL", "aten.eq")
ne = _comparison("NOT_EQUAL", "aten.ne", "aten.not_equal")
lt = _comparison("LESS", "aten.lt", "aten.less")
le = _comparison("LESS_EQUAL", "aten.le", "aten.less_equal")
gt = _comparison("GREATER", "aten.gt", "aten.greater")
ge = _comparison("GREATER_EQUAL", "aten.ge", "aten.greater_equal")


def _logical(op: str, *names: str) -> Lowering:
    def function(b: LoweringBuilder, x: Operand, y: Operand) -> Tensor:
        return b.op(op, as_bool(b, x), as_bool(b, y))

    return Lowering(names, function)


logical_and = _logical("LOGICAL_AND", "aten.logical_and")
logical_or = _logical("LOGICAL_OR", "aten.logical_or")
logical_xor = _logical("NOT_EQUAL", "aten.logical_xor")


def as_bool(b: LoweringBuilder, x: Operand) -> Tensor:
    """Whether each element is not zero."""
    if not isinstance(x, Tensor):
        return b.like(x, DType.BOOL)
    if x.dtype == DType.BOOL:
        return x
    return b.op("NOT_EQUAL", x, b.scalar(0, x.dtype))


@lower("aten.logical_not")
def logical_not(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("LOGICAL_NOT", as_bool(b, x))


@lower("aten.isnan")
def isnan(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("NOT_EQUAL", x, x)


@lower("aten.isinf")
def isinf(b: LoweringBuilder, x: Tensor) -> Tensor:
    if not x.dtype.is_floating:
        return b.op("NOT_EQUAL", x, x)
    return b.op("EQUAL", b.op("ABS", x), b.scalar(float("inf"), x.dtype))


@lower("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(b: LoweringBuilder, condition: Tensor, x: Operand, y: Operand) -> Tensor:
    return b.op("SELECT_V2", as_bool(b, condition), b.like(x, b.dtype), b.like(y, b.dtype))


@lower("aten.masked_fill")
def masked_fill(b: LoweringBuilder, x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    return b.op("SELECT_V2", mask, b.like(value, b.dtype), b.cast(x, b.dtype))
