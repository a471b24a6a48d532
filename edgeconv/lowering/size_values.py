"""Numbers that a program computes from sizes: `x.shape[0] // 2` stays a size, `1 / x.shape[0]` becomes a scalar.

So do numbers that it takes from tensors: `x.mean().item() / 2`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


_Items: TypeAlias = "Mapping[str, Tensor]"


def size_value(b: LoweringBuilder, value: object, names: Mapping[str, str], items: _Items) -> Value:
    """A symbolic number of PyTorch as a size, or, where it is no size, as a scalar.

    Args:
        b: Builds the arithmetic.
        value: `node.meta["val"]`.
        names: What each symbol is called, as `symbol_names` returns it.
        items: Scalars that symbols stand for.

    Raises:
        CannotLowerError: It depends on the values of tensors, or on arithmetic that has no translation.
    """
    if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return value
    if isinstance(value, torch.SymFloat):
        return _Numbers(b, names, items).number(value.node.expr)
    expression = value.node.expr
    if expression.is_Symbol and expression.name in items:
        return items[expression.name]
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


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Translates what is no size."""

    b: LoweringBuilder
    names: Mapping[str, str]
    items: _Items

    def number(self, expression: sympy.Basic) -> _Number:
        if expression.is_number:
            return float(expression)
        if expression.is_Symbol and expression.name in self.items:
            return self.b.cast(self.items[expression.name], DType.FLOAT32)
        kind = type(expression).__name__
        if kind not in (*_ARITHMETIC, *_FUNCTIONS, "ToFloat"):
            raise CannotLowerError(f"'{kind}' of a size has no translation")
        first, *others = map(self._operand, expression.args)
        if kind in _FUNCTIONS:
            return self.b.op(_FUNCTIONS[kind], _tensor(self.b, first))
        for other in others:
            first = _apply(self.b, _ARITHMETIC[kind], first, other)
        return first

    def _operand(self, expression: sympy.Basic) -> _Number:
        """A part of an expression, which may itself be a size."""
        is_item = expression.is_Symbol and expression.name in self.items
        if expression.is_integer and not expression.is_number and not is_item:
            return _from_size(self.b, _size(expression, self.names))
        return self.number(expression)


def _from_size(b: LoweringBuilder, size: Size) -> _Number:
    return b.like(size, DType.FLOAT32) if isinstance(size, DimExpr) else float(size)


def _tensor(b: LoweringBuilder, value: _Number) -> Tensor:
    return value if isinstance(value, Tensor) else b.scalar(value, DType.FLOAT32)


def _apply(b: LoweringBuilder, op: str, left: _Number, right: _Number) -> _Number:
    if isinstance(left, float) and isinstance(right, float):
        return _PYTHON[op](left, right)
    return b.op(op, _tensor(b, left), _tensor(b, right))


_ARITHMETIC: Mapping[str, str] = {
    "Add": "ADD",
    "FloatPow": "POW",
    "FloatTrueDiv": "DIV",
    "IntTrueDiv": "DIV",
    "Mul": "MUL",
    "Pow": "POW",
}
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
