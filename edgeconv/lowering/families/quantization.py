"""What torchao's `convert_pt2e` leaves of quantization-aware training: real numbers to integers and back.

Constants are not met here: the interpreter has PyTorch compute them, and notes the integers that they stand for.
"""

from __future__ import annotations

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

_STORED = (DType.INT8, DType.UINT8, DType.INT16)
_DYNAMIC = (
    "with a scale that is computed while the model runs: only scales that training fixed are taken"
)
_BY_CHANNEL = "of activations with a scale for each channel: kernels take one for all"


def _number(value: float | Tensor) -> float:
    """A scale or zero point, which is a number or a tensor of one."""
    if not isinstance(value, Tensor):
        return value
    if value.constant is None:
        raise CannotLowerError(_DYNAMIC)
    return float(value.constant.item())


@lower(
    "quantized_decomposed.quantize_per_tensor.default",
    "quantized_decomposed.quantize_per_tensor.tensor",
    "quantized_decomposed.quantize_per_tensor.tensor2",
)
def quantize(
    b: LoweringBuilder,
    x: Tensor,
    scale: float | Tensor,
    zero_point: int | Tensor,
    quant_min: int | Tensor,
    quant_max: int | Tensor,
    dtype: object,
) -> Tensor:
    """Integers of fewer values than their dtype has are kept to these by bounds on the real numbers before."""
    if b.dtype not in _STORED:
        raise CannotLowerError(f"to {b.dtype}")
    step, zero = float(np.float32(_number(scale))), int(_number(zero_point))
    low, high = int(_number(quant_min)), int(_number(quant_max))
    limits = np.iinfo(b.dtype.value)
    x = b.cast(x, DType.FLOAT32)
    if low > limits.min:
        x = b.op("MAXIMUM", x, b.scalar((low - zero) * step, x.dtype))
    if high < limits.max:
        x = b.op("MINIMUM", x, b.scalar((high - zero) * step, x.dtype))
    return b.op("QUANTIZE", x, scale=step, zero_point=zero, dtype=b.dtype.value)


@lower(
    "quantized_decomposed.dequantize_per_tensor.default",
    "quantized_decomposed.dequantize_per_tensor.tensor",
    "quantized_decomposed.dequantize_per_tensor.tensor2",
)
def dequantize(
    b: LoweringBuilder,
    x: Tensor,
    scale: float | Tensor,
    zero_point: int | Tensor,
    *_: object,
    **__: object,
) -> Tensor:
    if x.dtype not in _STORED:
        raise CannotLowerError(f"of {x.dtype}")
    step, zero = float(np.float32(_number(scale))), int(_number(zero_point))
    return b.cast(b.op("DEQUANTIZE", x, scale=step, zero_point=zero), b.dtype)


@lower("quantized_decomposed.choose_qparams", "quantized_decomposed.choose_qparams_symmetric")
def choose(b: LoweringBuilder, *_: object, **__: object) -> Tensor:
    raise CannotLowerError(_DYNAMIC)


@lower("quantized_decomposed.quantize_per_channel", "quantized_decomposed.dequantize_per_channel")
def by_channel(b: LoweringBuilder, *_: object, **__: object) -> Tensor:
    raise CannotLowerError(_BY_CHANNEL)
