"""Activation functions, alone and fused into other operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from edgeconv.graph import GraphError, Node
from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["TRANSLATIONS", "activate"]

Function = Callable[[tf.Tensor], tf.Tensor]


def _clip(low: float, high: float) -> Function:
    return lambda x: tf.clip_by_value(x, tf.cast(low, x.dtype), tf.cast(high, x.dtype))


_FUSED: Mapping[str, Function] = {
    "NONE": lambda x: x,
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "RELU_N1_TO_1": _clip(-1, 1),
    "TANH": tf.math.tanh,
}


def activate(node: Node, value: tf.Tensor) -> tf.Tensor:
    """Apply the activation that is fused into `node`.

    Raises:
        GraphError: It is not one that TFLite has.
    """
    name = node.text("fused_activation_function")
    if name not in _FUSED:
        raise GraphError(f"'{node.op}' has the unknown activation '{name}'")
    return _FUSED[name](value)


def _unary(function: Function) -> Translation:
    return Translation(emit=lambda call: function(call.input(0)))


def _hard_swish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.nn.relu6(x + 3) * tf.cast(1 / 6, x.dtype)


def _gelu(call: Call) -> tf.Tensor:
    return tf.nn.gelu(call.input(0), approximate=call.node.flag("approximate"))


def _leaky_relu(call: Call) -> tf.Tensor:
    return tf.nn.leaky_relu(call.input(0), alpha=call.node.real("alpha"))


def _prelu(call: Call) -> tf.Tensor:
    x, alpha = call.input(0), call.input(1)
    return tf.where(x >= 0, x, alpha * x)


def _softmax(call: Call) -> tf.Tensor:
    x, beta = call.input(0), call.node.real("beta")
    return tf.nn.softmax(x if beta == 1 else x * tf.cast(beta, x.dtype))


TRANSLATIONS: Mapping[str, Translation] = {
    "ELU": _unary(tf.nn.elu),
    "GELU": Translation(emit=_gelu),
    "HARD_SWISH": _unary(_hard_swish),
    "LEAKY_RELU": Translation(emit=_leaky_relu),
    "LOGISTIC": _unary(tf.math.sigmoid),
    "LOG_SOFTMAX": _unary(tf.nn.log_softmax),
    "PRELU": Translation(emit=_prelu),
    "RELU": _unary(tf.nn.relu),
    "RELU6": _unary(tf.nn.relu6),
    "RELU_0_TO_1": _unary(_clip(0, 1)),
    "RELU_N1_TO_1": _unary(_clip(-1, 1)),
    "SOFTMAX": Translation(emit=_softmax),
    "TANH": _unary(tf.math.tanh),
}
