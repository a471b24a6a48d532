"""`torch.cond` and `while_loop`: their blocks become graphs inside an operator.

PyTorch passes a block everything it reads. What is known becomes part of the block's graph, as sizes do; the rest is
an input of it, and a loop carries it along unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from edgeconv.graph import Graph, Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.values import ComplexPair, Value, is_known
from edgeconv.signature import DType

if TYPE_CHECKING:
    from edgeconv.lowering.interpreter import Interpreter

__all__ = ["lower_cond", "lower_while"]


def lower_cond(interpreter: Interpreter, arguments: Sequence[Value]) -> list[Value]:
    """One of two blocks; the one that a known condition chooses takes the place of both.

    Raises:
        CannotLowerError: The blocks take or give something that is no real tensor.
    """
    condition, then, other, operands = arguments
    values = _operands(interpreter, operands)
    if is_known(condition):
        return interpreter.run_inner(then if condition else other, values)
    builder = interpreter.builder
    chosen = builder.reshape(_tensor(interpreter.tensor(condition)), ())
    given = [value for value in values if _is_computed(value)]
    branches = [
        _block(interpreter, name, module, values)
        for name, module in (("then", then), ("else", other))
    ]
    node = builder.node(
        "IF", [chosen, *map(_tensor, given)], then_branch=branches[0], else_branch=branches[1]
    )
    return list(node.outputs)


def lower_while(interpreter: Interpreter, arguments: Sequence[Value]) -> list[Value]:
    """A loop that runs while its first block gives True.

    Raises:
        CannotLowerError: It carries something that is no real tensor.
    """
    condition, body, carried, extra = arguments
    state = [_tensor(value) for value in _operands(interpreter, carried)]
    values: list[Value] = [*state, *_operands(interpreter, extra)]
    invariant = [value for value in values[len(state) :] if _is_computed(value)]
    graphs = [
        _block(interpreter, name, module, values, carried=len(state))
        for name, module in (("condition", condition), ("body", body))
    ]
    (test,) = graphs[0].outputs
    if test.dtype != DType.BOOL:
        raise CannotLowerError("a loop whose condition is no bool")
    graphs[1].outputs += graphs[1].inputs[len(state) :]
    inputs = [*state, *map(_tensor, invariant)]
    node = interpreter.builder.node("WHILE", inputs, cond=graphs[0], body=graphs[1])
    return list(node.outputs[: len(state)])


def _operands(interpreter: Interpreter, operands: Value) -> list[Value]:
    if not isinstance(operands, list | tuple):
        raise CannotLowerError("a block without a list of operands")
    values = [interpreter.tensor(value) for value in operands]
    if any(isinstance(value, ComplexPair) for value in values):
        raise CannotLowerError("a block that takes complex numbers")
    return values


def _is_computed(value: Value) -> bool:
    return isinstance(value, Tensor) and not value.is_constant


def _tensor(value: Value) -> Tensor:
    if not isinstance(value, Tensor):
        raise CannotLowerError(f"a block with {type(value).__name__} where a tensor must be")
    return value


def _block(
    interpreter: Interpreter,
    name: str,
    module: Value,
    values: Sequence[Value],
    *,
    carried: int = 0,
) -> Graph:
    """A block's graph; its inputs are the first `carried` values and those that are computed."""
    outer = interpreter.builder
    inner = LoweringBuilder(f"{outer.prefix}/{name}", outer.graph.dims)
    inner.source = outer.source
    bound: list[Value] = []
    for index, value in enumerate(values):
        if index < carried or _is_computed(value):
            tensor = _tensor(value)
            bound.append(inner.input(f"{name}_{index}", tensor.dtype, tensor.shape))
        else:
            bound.append(value)
    interpreter.builder = inner
    try:
        results = interpreter.run_inner(module, bound)
    finally:
        interpreter.builder = outer
    inner.graph.outputs = [_tensor(_as_scalar(inner, value)) for value in results]
    return inner.graph


def _as_scalar(builder: LoweringBuilder, value: Value) -> Value:
    """A plain number that a block gives, as a tensor of the dtype PyTorch gives it."""
    if isinstance(value, bool | int | float):
        return builder.constant(torch.tensor(value).numpy())
    return value
