"""Finds the lines of a model that make sizes of the values of tensors: in the program that PyTorch exported, or in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.utils._python_dispatch import TorchDispatchMode

from edgeconv_converters.torch_export.refusals import (
    Frame,
    model_lines,
    named_frames,
    stack_frames,
)

__all__ = ["read_lines", "value_lines"]

_MASKS = (torch.bool, torch.uint8)


def value_lines(program: ExportedProgram, shape: Iterable[int | torch.SymInt]) -> list[str]:
    """`file:line: code` of what gave the sizes of `shape` that are not known before the model runs."""
    wanted = {str(symbol) for size in shape for symbol in _symbols(size)}
    return model_lines(
        frame
        for node in program.graph.nodes
        if wanted & {str(symbol) for symbol in node.meta.get("unbacked_bindings") or {}}
        for frame in _frames(node)
    )


def read_lines(run: Callable[[], object]) -> list[str]:
    """`file:line: code` of what gives tensors a size that follows from values; of what takes numbers from tensors if nothing does.

    Args:
        run: Runs the model, whose operators are watched meanwhile.
    """
    reads = _Reads()
    with reads, suppress(Exception):  # it ran before: what was seen counts
        run()
    return list(dict.fromkeys(reads.sizes or reads.numbers))


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees all operators; notes the line of the model for those whose result's shape, or which as a whole, follow values.

    Attributes:
        sizes: Lines that make a tensor whose size follows from values.
        numbers: Lines that take a number from a tensor.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[str] = []
        self.numbers: list[str] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Note it, and go on."""
        if torch.Tag.dynamic_output_shape in func.tags and not _is_gather(func, args):
            self.sizes += model_lines(stack_frames())[:1]
        elif torch.Tag.data_dependent_output in func.tags:
            self.numbers += model_lines(stack_frames())[:1]
        return func(*args, **(kwargs or {}))


def _is_gather(func: OpOverload, args: Sequence[object]) -> bool:
    """Whether indices are positions: only of a mask does the size follow from values."""
    if func is not torch.ops.aten.index.Tensor:
        return False
    indices = args[1] if isinstance(args[1], Sequence) else ()
    return not any(isinstance(i, torch.Tensor) and i.dtype in _MASKS for i in indices)


def _symbols(size: int | torch.SymInt) -> set[object]:
    return set() if isinstance(size, int) else set(size.node.expr.free_symbols)


def _frames(node: torch.fx.Node) -> Iterator[Frame]:
    """Innermost first, as `model_lines` takes them."""
    return reversed(list(named_frames(node.stack_trace or "")))
