"""Runs cases in float64 beside the float32 runs of the module and its program: neither keeps all cores busy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeAlias, TypeGuard

import torch
from torch import Tensor

from edgeconv_converters.torch_export.evaluate import run_in_float64
from edgeconv_converters.torch_export.rounding_noise import (
    has_rounded_activations,
    run_rounded_otherwise,
)
from edgeconv_converters.torch_export.threads import spare_core
from edgeconv_converters.torch_export.trial import Ran, Trial

__all__ = ["ExactRuns", "exact_runs", "is_rounded"]

Exact: TypeAlias = "tuple[Tensor, ...] | None"

_FIRST_CASES = 3
_MOST_BYTES_SIDE_BY_SIDE = 2**28
_MOST_VALUE_BYTES_SIDE_BY_SIDE = 2**25


@contextmanager
def exact_runs(trial: Trial, *, is_own_process: bool) -> Iterator[ExactRuns]:
    """Inside, cases run in float64: as soon as the trial ran them, or, in somebody else's process, when they are asked for.

    Only the program does, for it is interpreted and left as it is. A run holds the largest weight twice more, and some values twice
    as large as they are, so one with a very large weight or value waits until it is asked for.

    Args:
        trial: Runs cases in float32.
        is_own_process: Whether the process is a worker's: what PyTorch's threads may do to one another ends no more than that.
    """
    with ExitStack() as stack:
        background = None
        may_run_beside = torch.get_num_threads() > 1 and _may_run_beside(trial.program)
        if is_own_process and may_run_beside:
            background = stack.enter_context(ThreadPoolExecutor(1, "float64"))
            stack.enter_context(spare_core(background))
        runs = ExactRuns(trial, background)
        trial.on_ran = runs.take
        try:
            yield runs
        finally:
            trial.on_ran = None  # a cycle would keep the weights
            runs.cancel()


class ExactRuns:
    """The float64 runs of a trial: of the example and its noise, and of the first of each other kind.

    Rounding matters to some inputs a thousand times more than to others (attention that is all but a maximum), so the noise of an
    input that was not looked at would be anybody's guess; but float64 costs several times float32.

    A program that makes integers of its activations does not run in float64: it runs with activations that are rounded otherwise.

    Attributes:
        are_rounded_otherwise: Whether it is such a program.

    Args:
        trial: Has the program and the module.
        background: Runs them meanwhile; None to run them when they are asked for.
    """

    def __init__(self, trial: Trial, background: Executor | None) -> None:
        self.are_rounded_otherwise = has_rounded_activations(trial.program)
        self._trial = trial
        self._background = background
        self._kinds = {"example", "noise"}
        self._cases = 0
        self._taken: list[tuple[Ran, Future[Exact] | None]] = []

    def take(self, ran: Ran) -> None:
        """Run a case, if it is one of those that count."""
        self._cases += 1
        if self._cases > _FIRST_CASES and ran.drawn.kind in self._kinds:
            return
        self._kinds.add(ran.drawn.kind)
        background = self._background
        self._taken.append((ran, background.submit(self._run, ran) if background else None))

    def results(self) -> Iterator[tuple[Ran, Exact]]:
        """Cases and their outputs in float64, None where it fails; the latest first, which nobody may have begun."""
        for ran, future in reversed(self._taken):
            if future is None or future.cancel():
                yield ran, self._run(ran)
            else:
                yield ran, future.result()

    def cancel(self) -> None:
        """Begin no more."""
        for _, future in self._taken:
            if future is not None:
                future.cancel()

    def _run(self, ran: Ran) -> Exact:
        trial = self._trial
        if trial.program is not None and self.are_rounded_otherwise:
            return run_rounded_otherwise(trial.program, ran.inputs, trial.seed)
        return run_in_float64(trial.program, trial.module, ran.inputs)


def is_rounded(tensor: Tensor) -> bool:
    """Whether its numbers are rounded ones."""
    return tensor.is_floating_point() or tensor.is_complex()


def _may_run_beside(program: torch.fx.GraphModule | None) -> bool:
    if program is None:
        return False
    weights = (*program.parameters(), *program.buffers())
    values = (node.meta.get("val") for node in program.graph.nodes)
    return all(weight.nbytes <= _MOST_BYTES_SIDE_BY_SIDE for weight in weights) and all(
        value.nbytes <= _MOST_VALUE_BYTES_SIDE_BY_SIDE for value in values if _is_static(value)
    )


def _is_static(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and all(isinstance(size, int) for size in value.shape)
