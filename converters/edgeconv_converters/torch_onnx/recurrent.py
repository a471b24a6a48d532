"""Writes recurrent layers as ONNX's own operators LSTM, GRU and RNN.

PyTorch's exporter has no translation of RNN and a wrong one of an LSTM with a projection, and it leaves the reordering
of the weights in the graph, to be done at every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import torch
from onnxscript import DOUBLE, FLOAT, FLOAT16, ir, opset18
from onnxscript.optimizer import fold_constants

from edgeconv.lowering.recurrent_weights import Weights, cut_weights

__all__ = ["TRANSLATIONS", "fold_weights"]

# A value of the graph that is being made. The types of onnxscript's operators are those of scripts, which hold
# tensors; a translation is traced, and hands them values and plain lists.
Value: TypeAlias = Any
op: Any = opset18

# The exporter reads from the annotations which arguments of a translation are tensors.
Real = TypeVar("Real", FLOAT16, FLOAT, DOUBLE)

_OPERATORS = frozenset({"LSTM", "GRU", "RNN"})
_WEIGHTS = slice(1, 4)
_NO_LIMIT = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """An ONNX operator.

    Attributes:
        write: Appends it to the graph that is being made.
        gates: Where each of its gates stands among PyTorch's.
        activation: Of each direction, where there is a choice.
        options: Further attributes.
    """

    write: Callable[..., Sequence[Value]]
    gates: tuple[int, ...]
    activation: str = ""
    options: Mapping[str, int] = field(default_factory=dict)

    def attributes(self, size: int, directions: Sequence[str]) -> dict[str, object]:
        """The attributes of a node that runs in these directions."""
        made: dict[str, object] = {"hidden_size": size, **self.options}
        made["direction"] = directions[0] if len(directions) == 1 else "bidirectional"
        if self.activation:
            made["activations"] = [self.activation] * len(directions)
        return made


@dataclass(frozen=True, slots=True)
class _Layout:
    has_biases: bool
    layers: int
    is_bidirectional: bool
    is_batch_first: bool

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "reverse") if self.is_bidirectional else ("forward",)


def lstm(
    x: Real,
    hx: Sequence[Real],
    params: Sequence[Real],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Real, Real, Real]:
    """Gates i, f, g, o become i, o, f, g."""
    layout = _Layout(has_biases, num_layers, bidirectional, batch_first)
    return _write(_Kind(write=op.LSTM, gates=(0, 3, 1, 2)), x, hx, params, layout)


def gru(
    x: Real,
    hx: Real,
    params: Sequence[Real],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Real, Real]:
    """Gates r, z, n become z, r, h. PyTorch resets the product with the state, not the state."""
    layout = _Layout(has_biases, num_layers, bidirectional, batch_first)
    kind = _Kind(write=op.GRU, gates=(1, 0, 2), options={"linear_before_reset": 1})
    return _write(kind, x, [hx], params, layout)


def _rnn(activation: str) -> Callable[..., tuple[Real, Real]]:
    """One gate."""

    def rnn(
        x: Real,
        hx: Real,
        params: Sequence[Real],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Real, Real]:
        layout = _Layout(has_biases, num_layers, bidirectional, batch_first)
        kind = _Kind(write=op.RNN, gates=(0,), activation=activation)
        return _write(kind, x, [hx], params, layout)

    return rnn


TRANSLATIONS: Mapping[Callable[..., object], Callable[..., object]] = {
    torch.ops.aten.lstm.input: lstm,
    torch.ops.aten.gru.input: gru,
    torch.ops.aten.rnn_tanh.input: _rnn("Tanh"),
    torch.ops.aten.rnn_relu.input: _rnn("Relu"),
}


def fold_weights(model: ir.Model) -> None:
    """Do now what is left to be done with the weights of recurrent operators at every run, however large they are."""
    wanted: set[ir.Node] = set()
    pending = [
        value
        for node in model.graph.all_nodes()
        if node.op_type in _OPERATORS
        for value in node.inputs[_WEIGHTS]
    ]
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if node is not None and node not in wanted:
            wanted.add(node)
            pending += node.inputs
    if wanted:
        fold_constants(model, output_size_limit=_NO_LIMIT, should_fold=lambda node: node in wanted)


def _write(
    kind: _Kind,
    x: Value,
    states: Sequence[Value],
    params: Sequence[Value],
    layout: _Layout,
) -> tuple[Value, ...]:
    count = len(layout.directions)
    cells = cut_weights(params, layout.layers * count, has_biases=layout.has_biases)
    if layout.is_batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    finals: list[list[Value]] = []
    for first in range(0, len(cells), count):
        chosen = cells[first : first + count]
        start = [_rows(state, first, count, len(cells)) for state in states]
        write = _write_plain if chosen[0].projection is None else _write_projected
        x, last = write(kind, x, start, chosen, layout.directions)
        finals.append(last)
    if layout.is_batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    return (x, *(_concat(list(each), axis=0) for each in zip(*finals, strict=True)))


def _write_plain(
    kind: _Kind,
    x: Value,
    start: Sequence[Value],
    cells: Sequence[Weights[Value]],
    directions: Sequence[str],
) -> tuple[Value, list[Value]]:
    """A layer whose states are its outputs, all directions in one node."""
    inputs = _concat([_reorder(cell.input, kind) for cell in cells], axis=0)
    hiddens = _concat([_reorder(cell.hidden, kind) for cell in cells], axis=0)
    attributes = kind.attributes(cells[0].hidden.shape[1], directions)
    y, *last = kind.write(x, inputs, hiddens, _biases(kind, cells), None, *start, **attributes)
    if len(cells) == 1:
        return op.Squeeze(y, [1]), last
    return op.Reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1]), last


def _write_projected(
    kind: _Kind,
    x: Value,
    start: Sequence[Value],
    cells: Sequence[Weights[Value]],
    directions: Sequence[str],
) -> tuple[Value, list[Value]]:
    """A layer whose output is projected, which ONNX has no operator for.

    The state before the projection P is the state of a plain LSTM with the matrix W_hh P. The given state, which has been
    projected already, is an input of the first step.
    """
    outputs, finals = [], []
    for index, (cell, direction) in enumerate(zip(cells, directions, strict=True)):
        hidden, memory = (_rows(state, index, 1, len(cells)) for state in start)
        projection: Value = cell.projection
        fed = op.Concat(x, _at_first_step(hidden, x, direction), axis=2)
        matrix = _reorder(cell.hidden, kind)
        inputs = op.Concat(_reorder(cell.input, kind), matrix, axis=2)
        hiddens = op.MatMul(matrix, projection)
        attributes = kind.attributes(projection.shape[1], [direction])
        y, *last = kind.write(
            fed, inputs, hiddens, _biases(kind, [cell]), None, None, memory, **attributes
        )
        project = op.Transpose(projection, perm=[1, 0])
        outputs.append(op.MatMul(op.Squeeze(y, [1]), project))
        finals.append([op.MatMul(last[0], project), last[1]])
    lasts = [_concat(list(each), axis=0) for each in zip(*finals, strict=True)]
    return _concat(outputs, axis=2), lasts


def _at_first_step(state: Value, x: Value, direction: str) -> Value:
    """state[1, n, r] as a sequence like x[t, n, i]: zero but at the step that comes first."""
    others = op.Sub(op.Shape(x, start=0, end=1), [1])
    nothing = op.Constant(value_ints=[0, 0])
    zero = op.Constant(value_ints=[0])
    ends = (zero, others) if direction == "forward" else (others, zero)
    return op.Pad(state, op.Concat(ends[0], nothing, ends[1], nothing, axis=0))


def _reorder(matrix: Value, kind: _Kind) -> Value:
    """Gates in ONNX's order, with a leading axis for the direction."""
    rest = [int(size) for size in matrix.shape[1:]]
    gates = op.Gather(op.Reshape(matrix, [len(kind.gates), -1, *rest]), list(kind.gates), axis=0)
    return op.Reshape(gates, [1, -1, *rest])


def _biases(kind: _Kind, cells: Sequence[Weights[Value]]) -> Value | None:
    if cells[0].input_bias is None:
        return None
    each = [
        op.Concat(_reorder(cell.input_bias, kind), _reorder(cell.hidden_bias, kind), axis=1)
        for cell in cells
    ]
    return _concat(each, axis=0)


def _rows(x: Value, first: int, count: int, total: int) -> Value:
    return x if count == total else op.Slice(x, [first], [first + count], [0])


def _concat(values: list[Value], *, axis: int) -> Value:
    return values[0] if len(values) == 1 else op.Concat(*values, axis=axis)
