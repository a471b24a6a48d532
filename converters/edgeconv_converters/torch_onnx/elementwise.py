"""Writes elementwise operators that PyTorch's exporter gets wrong for some values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from onnxscript import DOUBLE, FLOAT, FLOAT16, opset18

__all__ = ["TRANSLATIONS"]

op: Any = opset18

# The exporter reads from the annotations which arguments of a translation are tensors.
Real = TypeVar("Real", FLOAT16, FLOAT, DOUBLE)


def log_sigmoid(self: Real) -> Real:
    """As -softplus(-x): the logarithm of a sigmoid is -inf from where the sigmoid is no longer above 0."""
    result: Real = op.Neg(op.Softplus(op.Neg(self)))
    return result


TRANSLATIONS: Mapping[Callable[..., object], Callable[..., object]] = {
    torch.ops.aten.log_sigmoid.default: log_sigmoid,
}
