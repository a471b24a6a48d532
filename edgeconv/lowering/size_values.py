"""Numbers that a program computes from sizes: `x.shape[0] // 2` stays a size, `1 / x.shape[0]` becomes a scalar."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import sympy
import torch

from edgeconv.dims import DimExpr, Size
from edgeconv.errors import ConversionError
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.sizes import size_from_torch
from edgeconv.lowering.values import Value
from edgeconv.signature import DType

__all__ = ["size_value"]

_Number: TypeAlias = "float | Tensor"


def size_value(b: LoweringBuilder, value: object, names: Mapping[str, str]) -> Value:
    """A symbolic number of PyTorch as a size, or, where it is no whole number, as a float32 scalar.

    Args:
        b: Builds the arithmetic.
        value: `node.meta["val"]`.
        names: What each symbol is called, as `symbol_names` returns it.

    Raises:
        CannotLowerError: It depends on the values of tensors, or on arithmetic that has no translation.
    """
    if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return value
    if isinstance(value, torch.SymFloat):
        return _number(b, value.node.expr, names)
    expression = value.node.expr
    if isinstance(value, torch.SymBool):
        if expression in (sympy.true, sympy.false):
            return bool(expression)
        raise CannotLowerError(f"it asks whether {expression}")
    return _size(expression, names)


def _size(expression: sympy.Basic, names: Mapping[str, str]) -> Size:
    try:
        return size_from_torch(expression, names)
    except ConversionError as error:
        raise CannotLowerError(f"{error.message}: {error.why}") from error


def _number(b: LoweringBuilder, expression: sympy.Basic, names: Mapping[str, str]) -> _Number:
    if expression.is_number:
        return float(expression)
    kind = type(expression).__name__
    if kind == "ToFloat":
        return _from_size(b, _size(expression.args[0], names))
    if kind in ("IntTrueDiv", "FloatTrueDiv"):
        left, right = (_operand(b, side, names) for side in expression.args)
        return _apply(b, "DIV", left, right)
    if kind in ("Add", "Mul"):
        first, *others = (_operand(b, side, names) for side in expression.args)
        for other in others:
            first = _apply(b, kind.upper(), first, other)
        return first
    if kind in ("Pow", "FloatPow"):
        base, exponent = (_operand(b, side, names) for side in expression.args)
        return _apply(b, "POW", base, exponent)
    if kind in _FUNCTIONS:
        (inside,) = expression.args
        return b.op(_FUNCTIONS[kind], _tensor(b, _operand(b, inside, names)))
    raise CannotLowerError(f"'{kind}' of a size has no translation")


def _operand(b: LoweringBuilder, expression: sympy.Basic, names: Mapping[str, str]) -> _Number:
    """A part of an expression, which may itself be a size."""
    if expression.is_integer and not expression.is_number:
        return _from_size(b, _size(expression, names))
    return _number(b, expression, names)


def _from_size(b: LoweringBuilder, size: Size) -> _Number:
    return b.like(size, DType.FLOAT32) if isinstance(size, DimExpr) else float(size)


def _tensor(b: LoweringBuilder, value: _Number) -> Tensor:
    return value if isinstance(value, Tensor) else b.scalar(value, DType.FLOAT32)


def _apply(b: LoweringBuilder, op: str, left: _Number, right: _Number) -> _Number:
    if isinstance(left, float) and isinstance(right, float):
        return _PYTHON[op](left, right)
    return b.op(op, _tensor(b, left), _tensor(b, right))


_PYTHON: Mapping[str, Callable[[float, float], float]] = {
    "ADD": lambda a, b: a + b,
    "MUL": lambda a, b: a * b,
    "DIV": lambda a, b: a / b,
    "POW": math.pow,
}
_FUNCTIONS: Mapping[str, str] = {
    "OpaqueUnaryFn_sqrt": "SQRT",
    "OpaqueUnaryFn_log": "LOG",
    "OpaqueUnaryFn_exp": "EXP",
    "OpaqueUnaryFn_cos": "COS",
    "OpaqueUnaryFn_sin": "SIN",
    "OpaqueUnaryFn_tanh": "TANH",
}
