"""What rounding alone does to the outputs of a model that was trained to compute with integers.

Such a model rounds every activation to a few integers. Two correct implementations differ a little before they round, since
integer kernels round biases and factors that PyTorch does not, so that values near the middle between two integers go to one
here and to the other there. A run in float64 does not show it: nothing but those values would go another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, fx

__all__ = ["has_rounded_activations", "run_rounded_otherwise"]

_QUANTIZE = "quantized_decomposed.quantize_per_tensor."
# Each value moves by up to so many steps: integer kernels let about one value in a hundred go the other way.
_LARGEST_NUDGE = 0.02


def has_rounded_activations(program: fx.GraphModule | None) -> bool:
    """Whether a program makes integers of real numbers, with scales that training fixed."""
    return program is not None and any(_is_quantizer(node) for node in program.graph.nodes)


def _is_quantizer(node: fx.Node) -> bool:
    return str(node.target).startswith(_QUANTIZE)


def run_rounded_otherwise(
    program: fx.GraphModule, inputs: Sequence[Tensor], seed: int
) -> tuple[Tensor, ...]:
    """The outputs where values near the middle between two integers go the other way; in every tensor one does at least."""
    with torch.no_grad():
        return tuple(_Nudging(program, seed).run(*(tensor.clone() for tensor in inputs)))


class _Nudging(fx.Interpreter):
    """Moves what is about to be rounded."""

    def __init__(self, program: fx.GraphModule, seed: int) -> None:
        super().__init__(program)
        self._generator = torch.Generator().manual_seed(seed)

    def run_node(self, n: fx.Node) -> object:
        if not _is_quantizer(n):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        x, scale = cast("Tensor", args[0]), float(cast("float", args[1]))
        return self.call_function(n.target, (self._nudge(x, scale), *args[1:]), dict(kwargs))

    def _nudge(self, x: Tensor, scale: float) -> Tensor:
        steps = x / scale
        if not steps.numel():
            return x
        offsets = torch.rand(steps.shape, generator=self._generator) * 2 - 1
        moved = steps + offsets * _LARGEST_NUDGE
        nearest = (steps - steps.floor() - 0.5).abs().argmin()
        middle = steps.flatten()[nearest].floor() + 0.5
        side = 1 if steps.flatten()[nearest] < middle else -1
        moved.view(-1)[nearest] = middle + side * _LARGEST_NUDGE
        return moved * scale
