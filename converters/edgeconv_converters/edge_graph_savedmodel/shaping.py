"""Operators that move, repeat, cut and join data without computing with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["TRANSLATIONS"]


def _reshape(call: Call) -> tf.Tensor:
    return tf.reshape(call.input(0), call.shape(call.node.sizes("shape")))


def _transpose(call: Call) -> tf.Tensor:
    return tf.transpose(call.input(0), call.node.integers("perm"))


def _broadcast_to(call: Call) -> tf.Tensor:
    return tf.broadcast_to(call.input(0), call.vector("shape"))


def _tile(call: Call) -> tf.Tensor:
    return tf.tile(call.input(0), call.vector("multiples"))


def _paddings(call: Call) -> list[list[int | tf.Tensor]]:
    sides = zip(call.node.sizes("before"), call.node.sizes("after"), strict=True)
    return [[call.sizes.scalar(before), call.sizes.scalar(after)] for before, after in sides]


def _pad(call: Call) -> tf.Tensor:
    return tf.pad(call.input(0), _paddings(call))


def _pad_with(call: Call) -> tf.Tensor:
    return tf.raw_ops.PadV2(
        input=call.input(0), paddings=_paddings(call), constant_values=call.input(1)
    )


def _mirror_pad(call: Call) -> tf.Tensor:
    return tf.pad(call.input(0), _paddings(call), mode=call.node.text("mode"))


def _strided_slice(call: Call) -> tf.Tensor:
    return tf.strided_slice(
        call.input(0), call.vector("begin"), call.vector("end"), call.node.integers("strides")
    )


def _reverse(call: Call) -> tf.Tensor:
    return tf.reverse(call.input(0), list(call.node.integers("axes")))


def _concatenation(call: Call) -> tf.Tensor:
    return tf.concat([call.input(i) for i in range(len(call.inputs))], call.node.integer("axis"))


def _pack(call: Call) -> tf.Tensor:
    return tf.stack([call.input(i) for i in range(len(call.inputs))], call.node.integer("axis"))


def _split(call: Call) -> Sequence[tf.Tensor]:
    sizes, axis = call.node.sizes("sizes"), call.node.integer("axis")
    parts: Sequence[tf.Tensor]
    if len(set(sizes)) == 1:
        parts = tf.raw_ops.Split(axis=axis, value=call.input(0), num_split=len(sizes))
        return parts
    parts = tf.raw_ops.SplitV(
        value=call.input(0), size_splits=call.vector("sizes"), axis=axis, num_split=len(sizes)
    )
    return parts


def _fill(call: Call) -> tf.Tensor:
    return tf.fill(call.vector("shape"), call.input(0))


def _range(call: Call) -> tf.Tensor:
    dtype = tf.as_dtype(call.node.text("dtype"))
    bounds = [call.scalar(name) for name in ("start", "limit", "delta")]
    if dtype in (tf.int32, tf.int64, tf.float32, tf.float64):
        return tf.range(*(tf.cast(bound, dtype) for bound in bounds))
    return tf.cast(tf.range(*bounds), dtype)


def _size_value(call: Call) -> tf.Tensor:
    return tf.cast(call.scalar("value"), tf.as_dtype(call.node.text("dtype")))


def _depth_to_space(call: Call) -> tf.Tensor:
    return tf.nn.depth_to_space(call.input(0), call.node.integer("block_size"))


def _space_to_depth(call: Call) -> tf.Tensor:
    return tf.nn.space_to_depth(call.input(0), call.node.integer("block_size"))


TRANSLATIONS: Mapping[str, Translation] = {
    "BROADCAST_TO": Translation(emit=_broadcast_to),
    "CONCATENATION": Translation(emit=_concatenation),
    "DEPTH_TO_SPACE": Translation(emit=_depth_to_space),
    "FILL": Translation(emit=_fill),
    "MIRROR_PAD": Translation(emit=_mirror_pad),
    "PACK": Translation(emit=_pack),
    "PAD": Translation(emit=_pad),
    "PADV2": Translation(emit=_pad_with),
    "RANGE": Translation(emit=_range),
    "RESHAPE": Translation(emit=_reshape),
    "REVERSE_V2": Translation(emit=_reverse),
    "SIZE_VALUE": Translation(emit=_size_value),
    "SPACE_TO_DEPTH": Translation(emit=_space_to_depth),
    "SPLIT_V": Translation(emit=_split),
    "STRIDED_SLICE": Translation(emit=_strided_slice),
    "TILE": Translation(emit=_tile),
    "TRANSPOSE": Translation(emit=_transpose),
}
