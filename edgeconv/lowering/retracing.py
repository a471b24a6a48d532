"""Traces programs while recurrent operators stay whole.

PyTorch finds the shapes of an LSTM, GRU or RNN by running its decomposition, which loops over the time steps in
Python: a dynamic number of steps becomes a constant (https://github.com/pytorch/pytorch/issues/115092). Whoever traces
through these operators does it in `keep_recurrent_operators`, which gives them the rule by which their shapes
follow instead. The traced program holds PyTorch's own operators, so nothing of edgeconv is needed to load it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._decomp import meta_table
from torch._ops import OpOverload
from torch._subclasses import FakeTensorMode, fake_impls
from torch.export import ExportedProgram

__all__ = ["RECURRENT_OPERATORS", "keep_recurrent_operators", "run_decompositions"]

RECURRENT_OPERATORS: tuple[OpOverload, ...] = (
    torch.ops.aten.lstm.input,
    torch.ops.aten.gru.input,
    torch.ops.aten.rnn_tanh.input,
    torch.ops.aten.rnn_relu.input,
)

# The tables below belong to the process; a second thread that traces waits.
_LOCK = threading.RLock()


@contextlib.contextmanager
def keep_recurrent_operators() -> Iterator[None]:
    """Give recurrent operators a rule for their shapes as long as the context lasts.

    Tensors with values are computed as ever. PyTorch's own tables are as before afterwards, whatever happens.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        for operator in RECURRENT_OPERATORS:
            stack.enter_context(_kept_from_decomposition(operator))
            stack.enter_context(_with_shape_rule(operator))
        yield


def run_decompositions(
    program: ExportedProgram, table: Mapping[OpOverload, Callable[..., object]]
) -> ExportedProgram:
    """The program traced again, functional, with the table's operators decomposed and recurrent ones whole."""
    with keep_recurrent_operators():
        decomposed: ExportedProgram = program.run_decompositions(dict(table))
    return decomposed


@contextlib.contextmanager
def _kept_from_decomposition(operator: OpOverload) -> Iterator[None]:
    """Where autograd would have it decomposed, the operator goes on to the tracer as it is."""

    def pass_on(*arguments: object) -> object:
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*arguments)

    before = dict(operator.py_kernels)
    operator.py_kernels[DispatchKey.AutogradCPU] = pass_on
    operator._dispatch_cache.clear()
    try:
        yield
    finally:
        operator.py_kernels.clear()
        operator.py_kernels.update(before)
        operator._dispatch_cache.clear()


@contextlib.contextmanager
def _with_shape_rule(operator: OpOverload) -> Iterator[None]:
    """Fake tensors ask the rule; that the operator is in the table of shape functions makes them ask at all."""
    is_first = operator not in meta_table
    if is_first:
        meta_table[operator] = _infer_shapes
    if operator not in fake_impls.op_implementations_dict:
        fake_impls.register_op_impl(operator)(_infer_shapes)
    try:
        yield
    finally:
        if is_first:
            del meta_table[operator]
            # `ExportedProgram.run_decompositions` may have dropped the rule already.
            fake_impls._deregister_op_impl(operator)


def _infer_shapes(
    mode: FakeTensorMode,
    operator: OpOverload,
    x: Tensor,
    states: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    *options: float,
) -> tuple[Tensor, ...]:
    """Output and final states, strided as PyTorch's kernels leave them: with the time first in memory."""
    del operator, params
    *_, bidirectional, batch_first = options
    finals = [states] if isinstance(states, Tensor) else list(states)
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    with mode:
        size = finals[0].shape[2] * (2 if bidirectional else 1)
        y = x.new_empty((steps, batch, size))
        return (
            y.transpose(0, 1) if batch_first else y,
            *(final.new_empty(final.shape) for final in finals),
        )
