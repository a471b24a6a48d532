"""Operators that work element by element."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.call import Call, Translation

__all__ = ["TRANSLATIONS"]

_SAME = {
    "ABS": "Abs", "ACOS": "Acos", "ACOSH": "Acosh", "ADD": "Add", "ASIN": "Asin", "ASINH": "Asinh", "ATAN": "Atan",
    "ATANH": "Atanh", "BITWISE_AND": "BitwiseAnd", "BITWISE_OR": "BitwiseOr", "BITWISE_XOR": "BitwiseXor",
    "CEIL": "Ceil", "COS": "Cos", "COSH": "Cosh", "DIV": "Div", "ELU": "Elu", "EQUAL": "Equal", "ERF": "Erf", "EXP": "Exp",
    "FLOOR": "Floor", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "HARD_SWISH": "HardSwish",
    "LESS": "Less", "LESS_EQUAL": "LessOrEqual", "LOG": "Log", "LOGICAL_AND": "And", "LOGICAL_NOT": "Not",
    "LOGICAL_OR": "Or", "LOGISTIC": "Sigmoid", "MAXIMUM": "Max", "MINIMUM": "Min", "MUL": "Mul", "NEG": "Neg", "POW": "Pow",
    "PRELU": "PRelu", "RELU": "Relu", "ROUND": "Round", "SELECT_V2": "Where", "SIGN": "Sign", "SIN": "Sin",
    "SINH": "Sinh", "SOFTPLUS": "Softplus", "SOFTSIGN": "Softsign", "SQRT": "Sqrt", "SUB": "Sub", "TAN": "Tan",
    "TANH": "Tanh",
}  # fmt: skip
_UNSIGNED = {DType.INT8: DType.UINT8, DType.INT32: DType.UINT32, DType.INT64: DType.UINT64}


def _same(op_type: str) -> Translation:
    return lambda call: call.op(op_type, *(call.input(i) for i in range(len(call.inputs))))


def _clip(low: float, high: float) -> Translation:
    def emit(call: Call) -> str:
        bounds = (call.emitter.number(bound, call.dtype) for bound in (low, high))
        return call.op("Clip", call.input(0), *bounds)

    return emit


def _cast(call: Call) -> str:
    return call.emitter.cast(call.input(0), DType(call.node.text("dtype")))


def _floor_div(call: Call) -> str:
    return call.op("Floor", call.op("Div", call.input(0), call.input(1)))


def _floor_mod(call: Call) -> str:
    """Of floating-point numbers, ONNX's remainder has the sign of the dividend."""
    left, right = call.input(0), call.input(1)
    if not call.dtype.is_floating:
        return call.op("Mod", left, right)
    rest, zero = call.op("Mod", left, right, fmod=1), call.emitter.number(0, call.dtype)
    has_other_sign = call.op("Less", call.op("Mul", call.op("Sign", rest), right), zero)
    return call.op("Where", has_other_sign, call.op("Add", rest, right), rest)


def _squared_difference(call: Call) -> str:
    difference = call.op("Sub", call.input(0), call.input(1))
    return call.op("Mul", difference, difference)


def _square(call: Call) -> str:
    return call.op("Mul", call.input(0), call.input(0))


def _rsqrt(call: Call) -> str:
    return call.op("Reciprocal", call.op("Sqrt", call.input(0)))


def _not_equal(call: Call) -> str:
    return call.op("Not", call.op("Equal", call.input(0), call.input(1)))


def _gelu(call: Call) -> str:
    approximate = "tanh" if call.node.flag("approximate") else "none"
    return call.op("Gelu", call.input(0), approximate=approximate)


def _leaky_relu(call: Call) -> str:
    return call.op("LeakyRelu", call.input(0), alpha=call.node.real("alpha"))


def _hard_sigmoid(call: Call) -> str:
    return call.op("HardSigmoid", call.input(0), alpha=1 / 6, beta=0.5)


def _quantize(call: Call) -> str:
    return call.op("QuantizeLinear", call.input(0), *_scale(call, call.node.output.dtype))


def _dequantize(call: Call) -> str:
    return call.op("DequantizeLinear", call.input(0), *_scale(call, call.dtype))


def _scale(call: Call, dtype: DType) -> tuple[str, str]:
    scale = call.emitter.number(call.node.real("scale"), DType.FLOAT32)
    return scale, call.emitter.number(call.node.integer("zero_point"), dtype)


def _shift(direction: str) -> Translation:
    """ONNX shifts unsigned numbers; a negative one is shifted to the right as what it is short of -1."""

    def emit(call: Call) -> str:
        unsigned = _UNSIGNED.get(call.dtype)
        x = call.input(0)
        if unsigned is None:
            return call.op("BitShift", x, call.input(1), direction=direction)
        if direction == "LEFT":
            return _shift_unsigned(call, x, unsigned, direction)
        is_negative = call.op("Less", x, call.emitter.number(0, call.dtype))
        positive = call.op("Where", is_negative, call.op("BitwiseNot", x), x)
        shifted = _shift_unsigned(call, positive, unsigned, direction)
        return call.op("Where", is_negative, call.op("BitwiseNot", shifted), shifted)

    return emit


def _shift_unsigned(call: Call, x: str, unsigned: DType, direction: str) -> str:
    places = call.integers_to(unsigned, 1)
    shifted = call.op("BitShift", call.emitter.cast(x, unsigned), places, direction=direction)
    return call.emitter.cast(shifted, call.dtype)


TRANSLATIONS: Mapping[str, Translation] = {
    **{name: _same(op_type) for name, op_type in _SAME.items()},
    "CAST": _cast,
    "DEQUANTIZE": _dequantize,
    "FLOOR_DIV": _floor_div,
    "FLOOR_MOD": _floor_mod,
    "GELU": _gelu,
    "HARD_SIGMOID": _hard_sigmoid,
    "LEAKY_RELU": _leaky_relu,
    "LEFT_SHIFT": _shift("LEFT"),
    "NOT_EQUAL": _not_equal,
    "QUANTIZE": _quantize,
    "RELU6": _clip(0, 6),
    "RELU_0_TO_1": _clip(0, 1),
    "RELU_N1_TO_1": _clip(-1, 1),
    "RIGHT_SHIFT": _shift("RIGHT"),
    "RSQRT": _rsqrt,
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
}
