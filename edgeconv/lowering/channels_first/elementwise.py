"""Functions that ONNX has and TFLite has not."""

from __future__ import annotations

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.transcendental import corrected_log1p
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.signature import DType

__all__ = ["LOWERINGS"]

# ONNX Runtime computes them in single precision only: double precision is left to the formulas.
_KEPT = (DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32)
_EXACT = (DType.FLOAT32, DType.FLOAT64)
# From here on softplus is x itself, to the last digit of a float32.
_SOFTPLUS_IS_X = 20


def _whole(op: str, *names: str) -> Lowering:
    def function(b: LoweringBuilder, x: Tensor) -> Tensor | None:
        return b.op(op, b.cast(x, b.dtype)) if b.dtype in _KEPT else None

    return Lowering(names, function)


@lower("aten.softplus")
def softplus(
    b: LoweringBuilder, x: Tensor, beta: float = 1, threshold: float = _SOFTPLUS_IS_X
) -> Tensor | None:
    is_plain = x.dtype in _KEPT and beta == 1 and threshold >= _SOFTPLUS_IS_X
    return b.op("SOFTPLUS", x) if is_plain else None


@lower("aten.log1p")
def log1p(b: LoweringBuilder, x: Tensor) -> Tensor | None:
    return corrected_log1p(b, b.cast(x, b.dtype)) if b.dtype in _EXACT else None


@lower("aten.mish")
def mish(b: LoweringBuilder, x: Tensor) -> Tensor | None:
    return b.op("MUL", x, b.op("TANH", b.op("SOFTPLUS", x))) if x.dtype in _KEPT else None


@lower("aten.log_sigmoid")
def log_sigmoid(b: LoweringBuilder, x: Tensor) -> Tensor | None:
    return b.op("NEG", b.op("SOFTPLUS", b.op("NEG", x))) if x.dtype in _KEPT else None


LOWERINGS = (
    log1p,
    softplus,
    mish,
    log_sigmoid,
    _whole("ACOS", "aten.acos", "aten.arccos"),
    _whole("ACOSH", "aten.acosh", "aten.arccosh"),
    _whole("ASIN", "aten.asin", "aten.arcsin"),
    _whole("ASINH", "aten.asinh", "aten.arcsinh"),
    _whole("ATAN", "aten.atan", "aten.arctan"),
    _whole("ATANH", "aten.atanh", "aten.arctanh"),
    _whole("COSH", "aten.cosh"),
    _whole("HARD_SIGMOID", "aten.hardsigmoid"),
    _whole("SINH", "aten.sinh"),
    _whole("SOFTSIGN", "aten.softsign"),
    _whole("TAN", "aten.tan"),
)
