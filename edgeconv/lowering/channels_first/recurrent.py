"""LSTM, GRU and RNN as ONNX has them: a layer is one operator, both directions together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.graph.model import Constant
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.shaping import pad_constant
from edgeconv.lowering.recurrent_weights import Weights, cut_weights
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import Lowering, lower

__all__ = ["LOWERINGS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """An operator.

    Attributes:
        op: Its name.
        gates: Where each of its gates stands among PyTorch's.
        activation: Where there is a choice.
    """

    op: str
    gates: tuple[int, ...]
    activation: str = ""

    def reorder(self, matrix: Constant) -> Constant:
        """[g h, ...] with the gates in the operator's order."""
        parts = np.split(matrix, len(self.gates))
        return np.concatenate([parts[gate] for gate in self.gates])


@dataclass(frozen=True, slots=True)
class _Layout:
    layers: int
    is_bidirectional: bool
    is_batch_first: bool

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "reverse") if self.is_bidirectional else ("forward",)


_Cell = Weights[Tensor]
# The outputs of all steps, and the last states.
_Layer = tuple[Tensor, list[Tensor]]


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
) -> list[Tensor] | None:
    """Gates i, f, g, o become i, o, f, g."""
    layout = _Layout(num_layers, bidirectional, batch_first)
    kind = _Kind(op="LSTM", gates=(0, 3, 1, 2))
    return _write(b, x, states, _cut(params, layout, has_biases=has_biases), (kind, layout))


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
) -> list[Tensor] | None:
    """Gates r, z, n become z, r, h."""
    layout = _Layout(num_layers, bidirectional, batch_first)
    kind = _Kind(op="GRU", gates=(1, 0, 2))
    return _write(b, x, [state], _cut(params, layout, has_biases=has_biases), (kind, layout))


def _rnn(activation: str) -> Callable[..., list[Tensor] | None]:
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
    ) -> list[Tensor] | None:
        layout = _Layout(num_layers, bidirectional, batch_first)
        kind = _Kind(op="RNN", gates=(0,), activation=activation)
        return _write(b, x, [state], _cut(params, layout, has_biases=has_biases), (kind, layout))

    return rnn


LOWERINGS = (
    lstm,
    gru,
    Lowering(("aten.rnn_tanh.input",), _rnn("TANH")),
    Lowering(("aten.rnn_relu.input",), _rnn("RELU")),
)


def _cut(params: Sequence[Tensor], layout: _Layout, *, has_biases: bool) -> list[_Cell] | None:
    """None where a weight is computed."""
    if not all(param.is_constant for param in params):
        return None
    count = layout.layers * len(layout.directions)
    return cut_weights(params, count, has_biases=has_biases)


def _write(
    b: LoweringBuilder,
    x: Tensor,
    states: Sequence[Tensor],
    cells: list[_Cell] | None,
    how: tuple[_Kind, _Layout],
) -> list[Tensor] | None:
    kind, layout = how
    if cells is None or not x.dtype.is_floating:
        return None
    count = len(layout.directions)
    if layout.is_batch_first:
        x = b.transpose(x, (1, 0, 2))
    finals: list[list[Tensor]] = []
    for first in range(0, len(cells), count):
        start = [_rows(b, state, first, count) for state in states]
        write = _write_plain if cells[first].projection is None else _write_projected
        x, last = write(b, x, start, cells[first : first + count], (kind, layout.directions))
        finals.append(last)
    if layout.is_batch_first:
        x = b.transpose(x, (1, 0, 2))
    return [x, *(_join(b, list(each), axis=0) for each in zip(*finals, strict=True))]


def _write_plain(
    b: LoweringBuilder,
    x: Tensor,
    start: Sequence[Tensor],
    cells: Sequence[_Cell],
    how: tuple[_Kind, tuple[str, ...]],
) -> _Layer:
    """A layer whose states are its outputs, all directions in one node."""
    kind, directions = how
    inputs = np.stack([kind.reorder(_array(cell.input)) for cell in cells])
    hiddens = np.stack([kind.reorder(_array(cell.hidden)) for cell in cells])
    y, *last = _run(b, x, (inputs, hiddens, _biases(kind, cells)), start, (kind, directions))
    merged = b.transpose(y, (0, 2, 1, 3))
    width = len(cells) * hiddens.shape[2]
    return b.reshape(merged, (*merged.shape[:2], width)), last


def _write_projected(
    b: LoweringBuilder,
    x: Tensor,
    start: Sequence[Tensor],
    cells: Sequence[_Cell],
    how: tuple[_Kind, tuple[str, ...]],
) -> _Layer:
    """A layer whose output is projected, which ONNX has no operator for.

    The state before the projection P is the state of a plain LSTM with the matrix W_hh P. The given state, which has been
    projected already, is an input of the first step.
    """
    kind, directions = how
    outputs, finals = [], []
    for index, (cell, direction) in enumerate(zip(cells, directions, strict=True)):
        if cell.projection is None:
            raise CannotLowerError("one direction alone is projected")
        hidden, memory = (_rows(b, state, index, 1) for state in start)
        projection, matrix = _array(cell.projection), kind.reorder(_array(cell.hidden))
        fed = b.node("CONCATENATION", [x, _at_first_step(b, hidden, x, direction)], axis=2).output
        inputs = np.concatenate([kind.reorder(_array(cell.input)), matrix], axis=1)
        hiddens = _product(matrix, projection)
        weights = (inputs[None], hiddens[None], _biases(kind, [cell]))
        y, *last = _run(b, fed, weights, [None, memory], (kind, (direction,)))
        steps = b.reshape(y, (y.shape[0], *y.shape[2:]))
        outputs.append(b.op("FULLY_CONNECTED", steps, cell.projection, None))
        finals.append([b.op("FULLY_CONNECTED", last[0], cell.projection, None), last[1]])
    lasts = [_join(b, list(each), axis=0) for each in zip(*finals, strict=True)]
    return _join(b, outputs, axis=2), lasts


def _run(
    b: LoweringBuilder,
    x: Tensor,
    weights: tuple[Constant, Constant, Constant | None],
    states: Sequence[Tensor | None],
    how: tuple[_Kind, tuple[str, ...]],
) -> list[Tensor]:
    kind, directions = how
    inputs, hiddens, biases = weights
    options = {"activation": kind.activation} if kind.activation else {}
    return b.node(
        kind.op,
        [
            x,
            b.constant(inputs),
            b.constant(hiddens),
            None if biases is None else b.constant(biases),
            *states,
        ],
        hidden_size=hiddens.shape[2],
        direction=directions[0] if len(directions) == 1 else "bidirectional",
        **options,
    ).outputs


def _at_first_step(b: LoweringBuilder, state: Tensor, x: Tensor, direction: str) -> Tensor:
    """state[1, n, r] as a sequence like x[t, n, i]: zero but at the step that comes first."""
    others = x.shape[0] - 1
    before, after = (0, others) if direction == "forward" else (others, 0)
    return pad_constant(b, state, (before, 0, 0), (after, 0, 0))


def _biases(kind: _Kind, cells: Sequence[_Cell]) -> Constant | None:
    rows = [
        np.concatenate([kind.reorder(_array(bias)) for bias in (c.input_bias, c.hidden_bias)])
        for c in cells
        if c.input_bias is not None
    ]
    return np.stack(rows) if rows else None


def _product(left: Constant, right: Constant) -> Constant:
    return (left.astype(np.float64) @ right.astype(np.float64)).astype(left.dtype)


def _array(tensor: Tensor | None) -> Constant:
    if tensor is None or tensor.constant is None:
        raise CannotLowerError("its weights are computed")
    return tensor.constant


def _rows(b: LoweringBuilder, x: Tensor, first: int, count: int) -> Tensor:
    if x.constant is not None:
        return b.constant(x.constant[first : first + count])
    return b.slice(x, 0, first, first + count)


def _join(b: LoweringBuilder, tensors: list[Tensor], *, axis: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else b.node("CONCATENATION", tensors, axis=axis).output
