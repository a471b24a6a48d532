"""The first runs of a model: what it returns, and whether it returns the same twice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeconv.errors import InvalidInputError
from edgeconv_converters.torch_export.evaluate import largest_difference
from edgeconv_converters.torch_export.flatten import Bound, FlatModule
from edgeconv_converters.torch_export.trial import forward_failure, run_once, tolerance

__all__ = ["check_not_empty", "check_repeatable", "run_raw"]


def run_raw(module: nn.Module, bound: Bound, seed: int) -> object:
    """What `forward` returns for the example, in its own structure.

    Raises:
        InvalidInputError: `forward` raises; the error has its message and the user's lines.
    """
    args, kwargs = bound.rebuild(tuple(tensor.clone() for tensor in bound.tensors))
    torch.manual_seed(seed)
    try:
        with torch.no_grad():
            return module(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise forward_failure(error, _shapes(bound.names, bound.tensors)) from error


def _shapes(names: Sequence[str], tensors: Sequence[Tensor]) -> str:
    return ", ".join(
        f"{name}:{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        for name, tensor in zip(names, tensors, strict=True)
    )


def check_not_empty(bound: Bound, outputs: Sequence[Tensor]) -> None:
    """Refuse outputs without a single element.

    Args:
        bound: The example inputs.
        outputs: What the model gave for them.

    Raises:
        InvalidInputError: There is nothing to compare.
    """
    if not any(output.numel() for output in outputs):
        raise InvalidInputError(
            "the model's outputs are empty",
            why=f"for the example inputs {_shapes(bound.names, bound.tensors)} they have no elements, so that nothing can be compared",
            hint="give example inputs, or --input, with larger sizes",
        )


def check_repeatable(flat: FlatModule, bound: Bound, first: tuple[Tensor, ...], seed: int) -> None:
    """Refuse a model whose outputs depend on random numbers.

    Args:
        flat: The model.
        bound: The example inputs.
        first: What it gave for them with `seed`.
        seed: Of the first run.

    Raises:
        InvalidInputError: A run with another seed differs.
    """
    second = run_once(flat, bound.tensors, seed + 1, _shapes(bound.names, bound.tensors))
    if any(largest_difference(a, b) > tolerance(a) for a, b in zip(first, second, strict=True)):
        raise InvalidInputError(
            "the model gives another result at every run",
            why="its forward draws random numbers, in eval mode too",
            hint="use nn.Dropout instead of F.dropout(x), or F.dropout(x, training=self.training)",
        )
