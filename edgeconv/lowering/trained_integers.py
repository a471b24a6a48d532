"""Reads off a program which integers a known tensor stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import fx

from edgeconv.graph.quantization import Quantization
from edgeconv.lowering.builder import dtype_of
from edgeconv.lowering.values import Value

__all__ = ["read_integers"]

_PER_TENSOR = "quantized_decomposed.dequantize_per_tensor."
_PER_CHANNEL = "quantized_decomposed.dequantize_per_channel."


def read_integers(node: fx.Node, arguments: Sequence[Value]) -> Quantization | None:
    """What the operator turns into real numbers; None for any other operator.

    Args:
        node: A call whose arguments are all known.
        arguments: Their values.
    """
    target = str(node.target)
    is_by_channel = target.startswith(_PER_CHANNEL)
    if not (is_by_channel or target.startswith(_PER_TENSOR)):
        return None
    stored = cast("torch.Tensor", arguments[0])
    scales, points = (
        torch.as_tensor(value).float().reshape(-1).tolist()  # a scale is used in float32
        for value in arguments[1:3]
    )
    zeros = points or [0] * len(scales)
    return Quantization(
        dtype=dtype_of(stored.dtype),
        scales=tuple(scales),
        zero_points=tuple(int(point) for point in zeros),
        axis=int(str(arguments[3])) % stored.dim() if is_by_channel else None,
    )
