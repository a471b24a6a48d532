"""LSTM and GRU.

The input projections of all time steps are one matrix product. The steps themselves are unrolled where their number is
known and small, and a loop otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Builder, Graph, Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_MAX_UNROLLED_STEPS = 32

Cell = Callable[[Builder, Tensor, Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True, slots=True)
class Weights:
    """One direction of one layer: W_ih[g*h, i], W_hh[g*h, h], and their biases."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None
    hidden_bias: Tensor | None


@lower("aten.lstm.input")
def lstm(
    b: LoweringBuilder,
    x: Tensor,
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[Tensor]:
    """Source: Hochreiter, Schmidhuber, "Long Short-Term Memory"; gate order i, f, g, o."""
    layers = _weights(params, has_biases=has_biases)
    layout = _Layout(num_layers, 2 if bidirectional else 1, batch_first)
    return _run_layers(b, x, states, layers, (layout, _lstm_cell))


@lower("aten.gru.input")
def gru(
    b: LoweringBuilder,
    x: Tensor,
    state: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[Tensor]:
    """Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder"; gates r, z, n."""
    layers = _weights(params, has_biases=has_biases)
    layout = _Layout(num_layers, 2 if bidirectional else 1, batch_first)
    return _run_layers(b, x, [state], layers, (layout, _gru_cell))


@dataclass(frozen=True, slots=True)
class _Layout:
    layers: int
    directions: int
    batch_first: bool


def _weights(params: Sequence[Tensor], *, has_biases: bool) -> list[Weights]:
    step = 4 if has_biases else 2
    groups = [params[i : i + step] for i in range(0, len(params), step)]
    return [Weights(g[0], g[1], *(g[2:4] if has_biases else (None, None))) for g in groups]


def _lstm_cell(weights: Weights) -> Cell:
    def step(b: Builder, projected: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        hidden, cell = state
        recurrent = b.op("FULLY_CONNECTED", hidden, weights.hidden, weights.hidden_bias)
        gates = b.op("ADD", projected, recurrent)
        i, f, g, o = _split(b, gates, 4)
        kept = b.op("MUL", b.op("LOGISTIC", f), cell)
        new = b.op("MUL", b.op("LOGISTIC", i), b.op("TANH", g))
        cell = b.op("ADD", kept, new)
        return [b.op("MUL", b.op("LOGISTIC", o), b.op("TANH", cell)), cell]

    return step


def _gru_cell(weights: Weights) -> Cell:
    def step(b: Builder, projected: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        (hidden,) = state
        recurrent = b.op("FULLY_CONNECTED", hidden, weights.hidden, weights.hidden_bias)
        reset_x, update_x, new_x = _split(b, projected, 3)
        reset_h, update_h, new_h = _split(b, recurrent, 3)
        reset = b.op("LOGISTIC", b.op("ADD", reset_x, reset_h))
        update = b.op("LOGISTIC", b.op("ADD", update_x, update_h))
        new = b.op("TANH", b.op("ADD", new_x, b.op("MUL", reset, new_h)))
        difference = b.op("SUB", hidden, new)
        return [b.op("ADD", new, b.op("MUL", update, difference))]

    return step


def _split(b: Builder, x: Tensor, parts: int) -> list[Tensor]:
    size = x.shape[-1] // parts
    return b.node("SPLIT_V", [x], axis=x.rank - 1, sizes=(size,) * parts).outputs


def _run_layers(
    b: LoweringBuilder,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Weights],
    how: tuple[_Layout, Callable[[Weights], Cell]],
) -> list[Tensor]:
    layout, make_cell = how
    is_batched = x.rank == 3
    if not is_batched:
        x = b.reshape(x, (x.shape[0], 1, x.shape[1]))
        states = [b.reshape(s, (s.shape[0], 1, s.shape[1])) for s in states]
    elif layout.batch_first:
        x = b.transpose(x, (1, 0, 2))
    finals: list[list[Tensor]] = []
    for layer in range(layout.layers):
        outputs = []
        for direction in range(layout.directions):
            position = layer * layout.directions + direction
            start = [_row(b, state, position) for state in states]
            cell = (weights[position], make_cell(weights[position]))
            sequence, final = _run_direction(b, x, start, cell, is_reversed=direction == 1)
            outputs.append(sequence)
            finals.append(final)
        x = outputs[0] if len(outputs) == 1 else b.node("CONCATENATION", outputs, axis=2).output
    lasts = [b.node("PACK", list(each), axis=0).output for each in zip(*finals, strict=True)]
    if is_batched and layout.batch_first:
        x = b.transpose(x, (1, 0, 2))
    return [b.reshape(t, shape) for t, (_, shape) in zip([x, *lasts], b.results, strict=True)]


def _row(b: LoweringBuilder, x: Tensor, position: int) -> Tensor:
    if x.constant is not None:
        return b.constant(x.constant[position])
    return b.reshape(b.slice(x, 0, position, position + 1), x.shape[1:])


def _run_direction(
    b: LoweringBuilder,
    x: Tensor,
    start: list[Tensor],
    cell: tuple[Weights, Cell],
    *,
    is_reversed: bool,
) -> tuple[Tensor, list[Tensor]]:
    """x[t, n, i] to the outputs [t, n, h] and the final states [n, h]."""
    weights, step = cell
    projected = b.op("FULLY_CONNECTED", x, weights.input, weights.input_bias)
    length = x.shape[0]
    if isinstance(length, int) and length <= _MAX_UNROLLED_STEPS:
        return _unroll(b, projected, start, step, is_reversed=is_reversed)
    if is_reversed:
        projected = b.op("REVERSE_V2", projected, axes=(0,))
    sequence, final = _loop(b, projected, start, step, length)
    return (b.op("REVERSE_V2", sequence, axes=(0,)) if is_reversed else sequence), final


def _unroll(
    b: LoweringBuilder, projected: Tensor, state: list[Tensor], step: Cell, *, is_reversed: bool
) -> tuple[Tensor, list[Tensor]]:
    length = int(str(projected.shape[0]))
    parts = b.node("SPLIT_V", [projected], axis=0, sizes=(1,) * length).outputs
    steps = [b.reshape(part, projected.shape[1:]) for part in parts]
    outputs = []
    for projection in reversed(steps) if is_reversed else steps:
        state = step(b, projection, state)
        outputs.append(state[0])
    return b.node("PACK", outputs[::-1] if is_reversed else outputs, axis=0).output, state


def _loop(
    b: LoweringBuilder, projected: Tensor, state: list[Tensor], step: Cell, length: Size
) -> tuple[Tensor, list[Tensor]]:
    """Carried: the step counter, the number of steps, the projections, the outputs so far, the states."""
    shape = (length, *state[0].shape)
    limit = b.like(length, DType.INT32)
    empty = b.op("FILL", b.scalar(0, projected.dtype), shape=shape)
    counter = b.scalar(0, DType.INT32)
    full_state = [b.broadcast(s, (*projected.shape[1:-1], s.shape[-1])) for s in state]
    carried = [counter, limit, projected, empty, *full_state]
    node = b.node("WHILE", carried, cond=_condition(b, carried), body=_body(b, carried, step))
    return node.outputs[3], node.outputs[4:]


def _inner(b: Builder, name: str, carried: Sequence[Tensor]) -> tuple[Builder, list[Tensor]]:
    inner = Builder(name, b.graph.dims)
    inner.source = b.source
    names = ["step", "steps", "projected", "outputs", "hidden", "cell"]
    return inner, [
        inner.input(name, t.dtype, t.shape) for name, t in zip(names, carried, strict=False)
    ]


def _condition(b: Builder, carried: Sequence[Tensor]) -> Graph:
    inner, values = _inner(b, "cond", carried)
    inner.graph.outputs = [inner.op("LESS", values[0], values[1])]
    return inner.graph


def _body(b: LoweringBuilder, carried: Sequence[Tensor], step: Cell) -> Graph:
    inner, (counter, limit, projected, outputs, *state) = _inner(b, "body", carried)
    now = inner.op("GATHER", projected, counter)
    state = step(inner, now, state)
    row = inner.op("RESHAPE", state[0], shape=(1, *state[0].shape))
    zero = inner.scalar(0, DType.INT32)
    start = inner.node("PACK", [counter, zero, zero], axis=0).output
    written = inner.op("DYNAMIC_UPDATE_SLICE", outputs, row, start)
    following = inner.op("ADD", counter, inner.constant(np.asarray(1, dtype=np.int32)))
    inner.graph.outputs = [following, limit, projected, written, *state]
    return inner.graph
