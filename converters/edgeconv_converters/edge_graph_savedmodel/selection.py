"""Operators that read or write elements at indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["TRANSLATIONS"]


def _indices(call: Call, index: int) -> tf.Tensor:
    """Indices of a dtype that gathering takes."""
    indices = call.input(index)
    return indices if indices.dtype in (tf.int32, tf.int64) else tf.cast(indices, tf.int32)


def _gather(call: Call) -> tf.Tensor:
    return tf.gather(
        call.input(0),
        _indices(call, 1),
        axis=call.node.integer("axis"),
        batch_dims=call.node.integer("batch_dims"),
    )


def _gather_nd(call: Call) -> tf.Tensor:
    return tf.gather_nd(call.input(0), _indices(call, 1))


def _scatter_nd(call: Call) -> tf.Tensor:
    indices = _indices(call, 0)
    shape = tf.cast(call.vector("shape"), indices.dtype)
    return tf.scatter_nd(indices, call.input(1), shape)


def _one_hot(call: Call) -> tf.Tensor:
    depth, on, off = call.scalar("depth"), call.input(1), call.input(2)
    return tf.one_hot(_indices(call, 0), depth, on_value=on, off_value=off, dtype=on.dtype)


def _segments(function: Callable[..., tf.Tensor]) -> Translation:
    return Translation(
        emit=lambda call: function(call.input(0), _indices(call, 1), call.scalar("count"))
    )


def _update_slice(call: Call) -> tf.Tensor:
    x, update = call.input(0), call.input(1)
    begin = tf.cast(call.input(2), tf.int32)
    whole, part = (tensor.shape for tensor in call.node.inputs[:2] if tensor is not None)
    if whole[1:] == part[1:] and isinstance(part[0], int):
        return _update_rows(x, update, begin[0], part[0])
    extent = tf.shape(update)
    # As TFLite does, a start that would lead past the end is moved back.
    begin = tf.clip_by_value(begin, 0, tf.shape(x) - extent)
    strides = tf.ones_like(begin)
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=x, begin=begin, end=begin + extent, strides=strides, value=update
    )


def _update_rows(x: tf.Tensor, update: tf.Tensor, begin: tf.Tensor, count: int) -> tf.Tensor:
    """Replace rows by scattering, which TFLiteConverter and TensorFlow.js can do as well."""
    begin = tf.maximum(tf.minimum(begin, tf.shape(x)[0] - count), 0)
    rows = tf.reshape(begin, [1, 1]) if count == 1 else (begin + tf.range(count))[:, tf.newaxis]
    return tf.tensor_scatter_nd_update(x, rows, update)


TRANSLATIONS: Mapping[str, Translation] = {
    "DYNAMIC_UPDATE_SLICE": Translation(emit=_update_slice),
    "GATHER": Translation(emit=_gather),
    "GATHER_ND": Translation(emit=_gather_nd),
    "ONE_HOT": Translation(emit=_one_hot),
    "SCATTER_ND": Translation(emit=_scatter_nd),
    "UNSORTED_SEGMENT_MAX": _segments(tf.math.unsorted_segment_max),
    "UNSORTED_SEGMENT_MIN": _segments(tf.math.unsorted_segment_min),
    "UNSORTED_SEGMENT_PROD": _segments(tf.math.unsorted_segment_prod),
}
