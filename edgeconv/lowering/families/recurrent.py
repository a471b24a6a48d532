"""LSTM, GRU and RNN: layers, directions and cells. The steps themselves are run by `edgeconv.lowering.stepping`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeconv.graph import Builder, Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.recurrent_weights import Weights, cut_weights
from edgeconv.lowering.registry import lower
from edgeconv.lowering.stepping import Cell, run_steps

Step = Callable[[Builder, Tensor, Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True, slots=True)
class _Layout:
    layers: int
    directions: int
    batch_first: bool


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
    """Source: Hochreiter, Schmidhuber, "Long Short-Term Memory"; gate order i, f, g, o.

    The projection of the output is that of Sak et al., "Long Short-Term Memory Based Recurrent Neural Network
    Architectures for Large Vocabulary Speech Recognition".
    """
    layout = _Layout(num_layers, 2 if bidirectional else 1, batch_first)
    cells = cut_weights(params, layout.layers * layout.directions, has_biases=has_biases)
    weights = [_join_biases(b, cell) for cell in cells]
    return _run_layers(b, x, states, weights, (layout, _lstm_step))


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
    layout = _Layout(num_layers, 2 if bidirectional else 1, batch_first)
    weights = cut_weights(params, layout.layers * layout.directions, has_biases=has_biases)
    return _run_layers(b, x, [state], weights, (layout, _gru_step))


def _rnn(activation: str) -> Callable[..., list[Tensor]]:
    """Source: Elman, "Finding Structure in Time"."""

    def rnn(
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
        layout = _Layout(num_layers, 2 if bidirectional else 1, batch_first)
        cells = cut_weights(params, layout.layers * layout.directions, has_biases=has_biases)
        weights = [_join_biases(b, cell) for cell in cells]
        return _run_layers(b, x, [state], weights, (layout, _rnn_step(activation)))

    return rnn


rnn_tanh = lower("aten.rnn_tanh.input")(_rnn("TANH"))
rnn_relu = lower("aten.rnn_relu.input")(_rnn("RELU"))


def _lstm_step(weights: Weights[Tensor]) -> Step:
    def step(b: Builder, projected: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
        hidden, cell = states
        recurrent = b.op("FULLY_CONNECTED", hidden, weights.hidden, weights.hidden_bias)
        i, f, g, o = _split(b, b.op("ADD", projected, recurrent), 4)
        kept = b.op("MUL", b.op("LOGISTIC", f), cell)
        new = b.op("MUL", b.op("LOGISTIC", i), b.op("TANH", g))
        cell = b.op("ADD", kept, new)
        hidden = b.op("MUL", b.op("LOGISTIC", o), b.op("TANH", cell))
        if weights.projection is not None:
            hidden = b.op("FULLY_CONNECTED", hidden, weights.projection)
        return [hidden, cell]

    return step


def _gru_step(weights: Weights[Tensor]) -> Step:
    def step(b: Builder, projected: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
        (hidden,) = states
        recurrent = b.op("FULLY_CONNECTED", hidden, weights.hidden, weights.hidden_bias)
        reset_x, update_x, new_x = _split(b, projected, 3)
        reset_h, update_h, new_h = _split(b, recurrent, 3)
        reset = b.op("LOGISTIC", b.op("ADD", reset_x, reset_h))
        update = b.op("LOGISTIC", b.op("ADD", update_x, update_h))
        new = b.op("TANH", b.op("ADD", new_x, b.op("MUL", reset, new_h)))
        difference = b.op("SUB", hidden, new)
        return [b.op("ADD", new, b.op("MUL", update, difference))]

    return step


def _rnn_step(activation: str) -> Callable[[Weights[Tensor]], Step]:
    def make_step(weights: Weights[Tensor]) -> Step:
        def step(b: Builder, projected: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
            (hidden,) = states
            recurrent = b.op("FULLY_CONNECTED", hidden, weights.hidden, weights.hidden_bias)
            return [b.op(activation, b.op("ADD", projected, recurrent))]

        return step

    return make_step


def _split(b: Builder, x: Tensor, parts: int) -> list[Tensor]:
    size = x.shape[-1] // parts
    return b.node("SPLIT_V", [x], axis=x.rank - 1, sizes=(size,) * parts).outputs


def _run_layers(
    b: LoweringBuilder,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Weights[Tensor]],
    how: tuple[_Layout, Callable[[Weights[Tensor]], Step]],
) -> list[Tensor]:
    layout, make_step = how
    if layout.batch_first:
        x = b.transpose(x, (1, 0, 2))
    finals: list[list[Tensor]] = []
    for layer in range(layout.layers):
        outputs = []
        for direction in range(layout.directions):
            position = layer * layout.directions + direction
            start = [_row(b, state, position) for state in states]
            cell = _make_cell(weights[position], make_step)
            sequence, final = run_steps(b, x, start, cell, is_reversed=direction == 1)
            outputs.append(sequence)
            finals.append(final)
        x = outputs[0] if len(outputs) == 1 else b.node("CONCATENATION", outputs, axis=2).output
    lasts = [
        b.node("CONCATENATION", list(each), axis=0).output for each in zip(*finals, strict=True)
    ]
    if layout.batch_first:
        x = b.transpose(x, (1, 0, 2))
    return [b.reshape(t, shape) for t, (_, shape) in zip([x, *lasts], b.results, strict=True)]


def _join_biases(b: LoweringBuilder, weights: Weights[Tensor]) -> Weights[Tensor]:
    """One bias where both are added to the same sum: it is added to all steps at once, with the projection."""
    one, other = weights.input_bias, weights.hidden_bias
    if one is None or other is None or one.constant is None or other.constant is None:
        return weights
    return replace(
        weights, input_bias=b.constant(np.add(one.constant, other.constant)), hidden_bias=None
    )


def _make_cell(weights: Weights[Tensor], make_step: Callable[[Weights[Tensor]], Step]) -> Cell:
    def project(b: Builder, x: Tensor) -> Tensor:
        return b.op("FULLY_CONNECTED", x, weights.input, weights.input_bias)

    each_step = (weights.hidden, weights.projection)
    read = tuple(tensor for tensor in each_step if tensor is not None)
    return Cell(project=project, step=make_step(weights), weights=read)


def _row(b: LoweringBuilder, x: Tensor, position: int) -> Tensor:
    if x.constant is not None:
        return b.constant(x.constant[position : position + 1])
    return b.slice(x, 0, position, position + 1)
