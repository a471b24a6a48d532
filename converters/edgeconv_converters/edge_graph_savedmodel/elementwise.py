"""Arithmetic, comparison, logic and selection, element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import tensorflow as tf

from edgeconv.graph import Node
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_savedmodel.activation import activate
from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["TRANSLATIONS"]

_MAX_BROADCAST_RANK = 5
_SMALL_INTEGERS = (DType.INT8, DType.INT16, DType.UINT8, DType.UINT16)


def _plain(function: Callable[..., tf.Tensor], count: int) -> Translation:
    return Translation(emit=lambda call: function(*_spread([call.input(i) for i in range(count)])))


def _activated(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Translation:
    return Translation(
        emit=lambda call: activate(call.node, function(*_spread([call.input(0), call.input(1)])))
    )


def _spread(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The tensors, of one shape where they have more axes than kernels broadcast by themselves."""
    if max(tensor.shape.rank for tensor in tensors) <= _MAX_BROADCAST_RANK:
        return tensors
    shape = reduce(tf.broadcast_dynamic_shape, (tf.shape(tensor) for tensor in tensors))
    return [tf.broadcast_to(tensor, shape) for tensor in tensors]


def _divide(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    if left.dtype.is_floating:
        return tf.raw_ops.RealDiv(x=left, y=right)
    return tf.raw_ops.TruncateDiv(x=left, y=right)


def _round(x: tf.Tensor) -> tf.Tensor:
    return tf.round(x) if x.dtype.is_floating else tf.identity(x)


def _squared_difference(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    return tf.square(left - right) if _is_small(left) else tf.math.squared_difference(left, right)


def _is_small(x: tf.Tensor) -> bool:
    return x.dtype.name in _SMALL_INTEGERS


def _quantize(call: Call) -> tf.Tensor:
    dtype = tf.as_dtype(call.node.text("dtype"))
    steps = tf.round(call.input(0) / call.node.real("scale")) + call.node.integer("zero_point")
    return tf.cast(tf.clip_by_value(steps, dtype.min, dtype.max), dtype)


def _dequantize(call: Call) -> tf.Tensor:
    steps = tf.cast(call.input(0), tf.float32) - call.node.integer("zero_point")
    return steps * call.node.real("scale")


def _cast(call: Call) -> tf.Tensor:
    return tf.cast(call.input(0), _target(call.node))


def _bitcast(call: Call) -> tf.Tensor:
    return tf.bitcast(call.input(0), _target(call.node))


def _target(node: Node) -> tf.DType:
    return tf.as_dtype(node.text("dtype"))


_UNARY: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "ABS": tf.math.abs,
    "CEIL": tf.math.ceil,
    "COS": tf.math.cos,
    "ERF": tf.math.erf,
    "ERFC": tf.math.erfc,
    "EXP": tf.math.exp,
    "FLOOR": tf.math.floor,
    "LOG": tf.math.log,
    "LOGICAL_NOT": tf.math.logical_not,
    "NEG": tf.math.negative,
    "ROUND": _round,
    "RSQRT": tf.math.rsqrt,
    "SIGN": tf.math.sign,
    "SIN": tf.math.sin,
    "SQRT": tf.math.sqrt,
    "SQUARE": tf.math.square,
}
_BINARY: Mapping[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "ATAN2": tf.math.atan2,
    "BITWISE_AND": tf.bitwise.bitwise_and,
    "BITWISE_OR": tf.bitwise.bitwise_or,
    "BITWISE_XOR": tf.bitwise.bitwise_xor,
    "EQUAL": tf.math.equal,
    "FLOOR_DIV": tf.math.floordiv,
    "FLOOR_MOD": tf.math.floormod,
    "GREATER": tf.math.greater,
    "GREATER_EQUAL": tf.math.greater_equal,
    "LEFT_SHIFT": tf.bitwise.left_shift,
    "LESS": tf.math.less,
    "LESS_EQUAL": tf.math.less_equal,
    "LOGICAL_AND": tf.math.logical_and,
    "LOGICAL_OR": tf.math.logical_or,
    "MAXIMUM": tf.math.maximum,
    "MINIMUM": tf.math.minimum,
    "NOT_EQUAL": tf.math.not_equal,
    "POW": tf.math.pow,
    "RIGHT_SHIFT": tf.bitwise.right_shift,
    "SQUARED_DIFFERENCE": _squared_difference,
}
_ACTIVATED: Mapping[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "ADD": tf.math.add,
    "DIV": _divide,
    "MUL": tf.math.multiply,
    "SUB": tf.math.subtract,
}

TRANSLATIONS: Mapping[str, Translation] = {
    **{name: _plain(function, 1) for name, function in _UNARY.items()},
    **{name: _plain(function, 2) for name, function in _BINARY.items()},
    **{name: _activated(function) for name, function in _ACTIVATED.items()},
    "BITCAST": Translation(emit=_bitcast),
    "DEQUANTIZE": Translation(emit=_dequantize),
    "QUANTIZE": Translation(emit=_quantize),
    "CAST": Translation(emit=_cast),
    "SELECT_V2": _plain(tf.where, 3),
}
