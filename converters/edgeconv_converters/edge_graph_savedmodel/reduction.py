"""Operators that fold axes away, or run along one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["TRANSLATIONS"]


def _reduction(function: Callable[..., tf.Tensor]) -> Translation:
    def emit(call: Call) -> tf.Tensor:
        axes = list(call.node.integers("axes"))
        return function(call.input(0), axis=axes, keepdims=call.node.flag("keep_dims"))

    return Translation(emit=emit)


def _arg(function: Callable[..., tf.Tensor]) -> Translation:
    def emit(call: Call) -> tf.Tensor:
        dtype = tf.as_dtype(call.node.text("output_type"))
        if dtype in (tf.int32, tf.int64):
            return function(call.input(0), axis=call.node.integer("axis"), output_type=dtype)
        return tf.cast(function(call.input(0), axis=call.node.integer("axis")), dtype)

    return Translation(emit=emit)


def _cumulative_sum(call: Call) -> tf.Tensor:
    return tf.math.cumsum(
        call.input(0),
        axis=call.node.integer("axis"),
        exclusive=call.node.flag("exclusive"),
        reverse=call.node.flag("reverse"),
    )


def _top_k(call: Call) -> Sequence[tf.Tensor]:
    values, indices = tf.math.top_k(call.input(0), k=call.scalar("k"), sorted=True)
    return values, indices


TRANSLATIONS: Mapping[str, Translation] = {
    "ARG_MAX": _arg(tf.math.argmax),
    "ARG_MIN": _arg(tf.math.argmin),
    "CUMSUM": Translation(emit=_cumulative_sum),
    "MEAN": _reduction(tf.math.reduce_mean),
    "REDUCE_ALL": _reduction(tf.math.reduce_all),
    "REDUCE_ANY": _reduction(tf.math.reduce_any),
    "REDUCE_MAX": _reduction(tf.math.reduce_max),
    "REDUCE_MIN": _reduction(tf.math.reduce_min),
    "REDUCE_PROD": _reduction(tf.math.reduce_prod),
    "SUM": _reduction(tf.math.reduce_sum),
    "TOPK_V2": Translation(emit=_top_k),
}
