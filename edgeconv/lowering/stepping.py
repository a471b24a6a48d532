"""Runs a recurrent cell over the time steps of a sequence.

A short sequence of known length is unrolled. Any other is a loop of several steps at a time, since what a loop costs
besides its steps (every carried value is copied, the sequence among them) is paid once per turn, and a second loop
of single steps for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Builder, Graph, GraphError, Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.signature import DType

__all__ = ["Cell", "run_steps"]

_MAX_UNROLLED_STEPS = 32
_STEPS_PER_TURN = 8
_FEW_STEPS_PER_TURN = 4
# XNNPACK keeps a copy of the weights for each operator that reads them; more than this does not stay in a cache, and
# unrolling costs more than it saves (measured on LSTMs of width 48 to 512).
_MAX_UNROLLED_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One direction of one layer.

    Attributes:
        project: The part that depends on the inputs alone, for any number of steps: x[t, n, i] to [t, n, g].
        step: Projection [n, g] and states [n, h] of one step to the following states, the output first; all of them may have
            one more axis, of size 1, before these.
        weights: What every step reads besides.
    """

    project: Callable[[Builder, Tensor], Tensor]
    step: Callable[[Builder, Tensor, Sequence[Tensor]], list[Tensor]]
    weights: tuple[Tensor, ...]

    def can_unroll(self, steps: int) -> bool:
        """Whether as many copies of the weights are worth it."""
        size = sum(t.constant.nbytes for t in self.weights if t.constant is not None)
        return steps * size <= _MAX_UNROLLED_BYTES


def run_steps(
    b: LoweringBuilder, x: Tensor, states: list[Tensor], cell: Cell, *, is_reversed: bool
) -> tuple[Tensor, list[Tensor]]:
    """x[t, n, i] and states[1, n, h] to the outputs [t, n, h] and the final states."""
    length = x.shape[0]
    if isinstance(length, int) and length <= _MAX_UNROLLED_STEPS and cell.can_unroll(length):
        return _unroll(b, cell, cell.project(b, x), states, is_reversed=is_reversed)
    if not is_reversed:
        return _loop(b, x, states, cell)
    outputs, finals = _loop(b, b.op("REVERSE_V2", x, axes=(0,)), states, cell)
    return b.op("REVERSE_V2", outputs, axes=(0,)), finals


def _unroll(
    b: Builder, cell: Cell, projected: Tensor, states: list[Tensor], *, is_reversed: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """The outputs [t, n, h] of all steps, in the order of the sequence, and the final states [1, n, h].

    Where the batch is static, the steps compute on matrices: to TensorFlow and ONNX a product of anything else is a matrix
    product between two reshapes, at every step.
    """
    length, batch = int(str(projected.shape[0])), projected.shape[1]
    size = 1
    if isinstance(batch, int):
        size = batch
        projected = _as_shape(b, projected, (length * batch, projected.shape[2]))
        states = [_as_shape(b, state, state.shape[1:]) for state in states]
    parts = b.node("SPLIT_V", [projected], axis=0, sizes=(size,) * length).outputs
    outputs: list[Tensor] = []
    for part in reversed(parts) if is_reversed else parts:
        states = cell.step(b, part, states)
        outputs.append(states[0])
    rows = b.node("CONCATENATION", outputs[::-1] if is_reversed else outputs, axis=0).output
    return (
        _as_shape(b, rows, (length, batch, rows.shape[-1])),
        [_as_shape(b, state, (1, batch, state.shape[-1])) for state in states],
    )


def _as_shape(b: Builder, x: Tensor, shape: tuple[Size, ...]) -> Tensor:
    return x if x.shape == shape else b.op("RESHAPE", x, shape=shape)


def _loop(
    b: LoweringBuilder, x: Tensor, states: list[Tensor], cell: Cell
) -> tuple[Tensor, list[Tensor]]:
    if not all(weight.is_constant for weight in cell.weights):
        raise GraphError("a long or dynamic sequence needs weights that depend on no input")
    length, batch = x.shape[:2]
    # TFLite checks the shapes of a loop that never turns: its outputs must fit even into a shorter sequence.
    several = _STEPS_PER_TURN if cell.can_unroll(_STEPS_PER_TURN) else _FEW_STEPS_PER_TURN
    rows = length + several - 1
    outputs = b.op("FILL", b.scalar(0, x.dtype), shape=(rows, batch, states[0].shape[-1]))
    carried = [b.scalar(0, DType.INT32), x, outputs, *states]
    for steps in (several, 1):
        carried = _turns(b, carried, cell, steps)
    return b.slice(carried[2], 0, 0, length), carried[3:]


def _turns(b: LoweringBuilder, carried: Sequence[Tensor], cell: Cell, steps: int) -> list[Tensor]:
    """As many turns of `steps` steps as there are left."""
    limit = b.like(carried[1].shape[0] - (steps - 1), DType.INT32)
    values = [limit, *carried]
    return b.node(
        "WHILE", values, cond=_condition(b, values), body=_body(b, values, cell, steps)
    ).outputs[1:]


def _inner(b: Builder, name: str, carried: Sequence[Tensor]) -> tuple[Builder, list[Tensor]]:
    inner = Builder(name, b.graph.dims)
    inner.source = b.source
    names = ["limit", "counter", "sequence", "outputs", "hidden", "cell"]
    return inner, [
        inner.input(name, t.dtype, t.shape) for name, t in zip(names, carried, strict=False)
    ]


def _condition(b: Builder, carried: Sequence[Tensor]) -> Graph:
    inner, values = _inner(b, "cond", carried)
    inner.graph.outputs = [inner.op("LESS", values[1], values[0])]
    return inner.graph


def _body(b: Builder, carried: Sequence[Tensor], cell: Cell, steps: int) -> Graph:
    inner, (limit, counter, x, outputs, *states) = _inner(b, "body", carried)
    offsets = inner.constant(np.arange(steps, dtype=np.int32))
    now = inner.op("GATHER", x, inner.op("ADD", offsets, counter))
    rows, states = _unroll(inner, cell, cell.project(inner, now), states)
    zero = inner.scalar(0, DType.INT32)
    start = inner.node("PACK", [counter, zero, zero], axis=0).output
    written = inner.op("DYNAMIC_UPDATE_SLICE", outputs, rows, start)
    following = inner.op("ADD", counter, inner.scalar(steps, DType.INT32))
    inner.graph.outputs = [limit, following, x, written, *states]
    return inner.graph
