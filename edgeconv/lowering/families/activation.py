"""Activation functions, kept whole where TFLite has a kernel for them."""

from __future__ import annotations

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.arithmetic import clamp_between
from edgeconv.lowering.families.elementwise import direct
from edgeconv.lowering.families.transcendental import accurate_log1p
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower

sigmoid = direct("LOGISTIC", "aten.sigmoid", "aten.special_expit")
tanh = direct("TANH", "aten.tanh")
relu6 = direct("RELU6", "aten.relu6")
hardswish = direct("HARD_SWISH", "aten.hardswish")


@lower("aten.relu")
def relu(b: LoweringBuilder, x: Tensor) -> Tensor:
    if x.dtype.is_floating:
        return b.op("RELU", x)
    return b.op("MAXIMUM", x, b.scalar(0, x.dtype))


@lower("aten.hardtanh")
def hardtanh(b: LoweringBuilder, x: Tensor, min_val: float = -1, max_val: float = 1) -> Tensor:
    return clamp_between(b, x, min_val, max_val)


@lower("aten.hardsigmoid")
def hardsigmoid(b: LoweringBuilder, x: Tensor) -> Tensor:
    shifted = b.op("RELU6", b.op("ADD", x, b.scalar(3, x.dtype)))
    return b.op("MUL", shifted, b.scalar(1 / 6, x.dtype))


@lower("aten.gelu")
def gelu(b: LoweringBuilder, x: Tensor, approximate: str = "none") -> Tensor:
    return b.op("GELU", x, approximate=approximate == "tanh")


@lower("aten.silu", "aten.swish")
def silu(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("MUL", x, b.op("LOGISTIC", x))


@lower("aten.leaky_relu")
def leaky_relu(b: LoweringBuilder, x: Tensor, negative_slope: float = 0.01) -> Tensor:
    return b.op("LEAKY_RELU", x, alpha=float(negative_slope))


@lower("aten.rrelu")
def rrelu(
    b: LoweringBuilder,
    x: Tensor,
    lower_slope: float = 1 / 8,
    upper_slope: float = 1 / 3,
    training: bool = False,
    *_: object,
) -> Tensor:
    """Outside of training the slope is the mean of its range."""
    if training:
        raise CannotLowerError("it draws random slopes in training mode")
    return b.op("LEAKY_RELU", x, alpha=(lower_slope + upper_slope) / 2)


@lower("aten.elu")
def elu(
    b: LoweringBuilder, x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1
) -> Tensor:
    """The curve below zero has a scale of its own, which TFLite's ELU has not."""
    if (alpha, scale, input_scale) == (1, 1, 1):
        return b.op("ELU", x)
    zero = b.scalar(0, x.dtype)
    below = b.op("MUL", b.op("MINIMUM", x, zero), b.scalar(input_scale, x.dtype))
    curve = b.op("MUL", b.op("ELU", below), b.scalar(alpha, x.dtype))
    return b.op("MUL", b.op("ADD", b.op("RELU", x), curve), b.scalar(scale, x.dtype))


@lower("aten.selu")
def selu(b: LoweringBuilder, x: Tensor) -> Tensor:
    return _exponential_unit(b, x, 1.6732632423543772, 1.0507009873554805)


@lower("aten.celu")
def celu(b: LoweringBuilder, x: Tensor, alpha: float = 1) -> Tensor:
    if alpha == 1:
        return b.op("ELU", x)
    zero = b.scalar(0, x.dtype)
    below = b.op("DIV", b.op("MINIMUM", x, zero), b.scalar(alpha, x.dtype))
    curve = b.op("MUL", b.op("ELU", below), b.scalar(alpha, x.dtype))
    return b.op("ADD", b.op("RELU", x), curve)


def _exponential_unit(b: LoweringBuilder, x: Tensor, alpha: float, scale: float) -> Tensor:
    below = b.op("ELU", b.op("MINIMUM", x, b.scalar(0, x.dtype)))
    curve = b.op("MUL", below, b.scalar(alpha, x.dtype))
    return b.op("MUL", b.op("ADD", b.op("RELU", x), curve), b.scalar(scale, x.dtype))


@lower("aten.softplus")
def softplus(b: LoweringBuilder, x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    scaled = x if beta == 1 else b.op("MUL", x, b.scalar(beta, x.dtype))
    soft = stable_softplus(b, scaled)
    if beta != 1:
        soft = b.op("MUL", soft, b.scalar(1 / beta, x.dtype))
    return b.op("SELECT_V2", b.op("GREATER", scaled, b.scalar(threshold, x.dtype)), x, soft)


def stable_softplus(b: LoweringBuilder, x: Tensor) -> Tensor:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)), which cannot overflow."""
    tail = accurate_log1p(b, b.op("EXP", b.op("NEG", b.op("ABS", x))))
    return b.op("ADD", b.op("RELU", x), tail)


@lower("aten.mish")
def mish(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("MUL", x, b.op("TANH", stable_softplus(b, x)))


@lower("aten.log_sigmoid", "aten.log_sigmoid_forward")
def log_sigmoid(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("NEG", stable_softplus(b, b.op("NEG", x)))


@lower("aten.softsign")
def softsign(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.op("DIV", x, b.op("ADD", b.op("ABS", x), b.scalar(1, x.dtype)))


@lower("aten.threshold")
def threshold(b: LoweringBuilder, x: Tensor, limit: float, value: float) -> Tensor:
    is_replaced = b.op("LESS_EQUAL", x, b.scalar(limit, x.dtype))  # NaN is not
    return b.op("SELECT_V2", is_replaced, b.scalar(value, x.dtype), x)


@lower("aten.prelu")
def prelu(b: LoweringBuilder, x: Tensor, weight: Tensor) -> Tensor:
    weight = b.vector(weight)
    if x.rank > 1 and weight.shape != (1,):
        weight = b.reshape(weight, [1, weight.shape[0], *([1] * (x.rank - 2))])
    return b.reshape(b.op("PRELU", b.vector(x), weight), x.shape)


@lower("aten.glu")
def glu(b: LoweringBuilder, x: Tensor, dim: int = -1) -> Tensor:
    axis = dim % x.rank
    half = x.shape[axis] // 2
    gate = b.op("LOGISTIC", b.slice(x, axis, half, x.shape[axis]))
    return b.op("MUL", b.slice(x, axis, 0, half), gate)


@lower("aten.softmax", "aten._softmax", "aten.special_softmax")
def softmax(b: LoweringBuilder, x: Tensor, dim: int, dtype: object = None) -> Tensor:
    return over_last_axis(b, "SOFTMAX", b.cast(x, b.dtype), dim)


@lower("aten.log_softmax", "aten._log_softmax", "aten.special_log_softmax")
def log_softmax(b: LoweringBuilder, x: Tensor, dim: int, dtype: object = None) -> Tensor:
    return over_last_axis(b, "LOG_SOFTMAX", b.cast(x, b.dtype), dim)


def over_last_axis(b: LoweringBuilder, op: str, x: Tensor, axis: int) -> Tensor:
    """An operator that works on the last axis, applied to any axis."""
    if x.rank == 0:
        if op not in ("SOFTMAX", "LOG_SOFTMAX"):
            raise CannotLowerError(f"'{op}' of a scalar")
        return b.reshape(b.op(op, b.reshape(x, [1])), [])
    axis %= x.rank
    if axis == x.rank - 1:
        return b.op(op, x)
    to_last = [i for i in range(x.rank) if i != axis] + [axis]
    back = [to_last.index(i) for i in range(x.rank)]
    return b.transpose(b.op(op, b.transpose(x, to_last)), back)
