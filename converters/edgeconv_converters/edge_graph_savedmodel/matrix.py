"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from edgeconv_converters.edge_graph_savedmodel.activation import activate
from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation
from edgeconv_converters.edge_graph_savedmodel.precision import computed_wide

__all__ = ["TRANSLATIONS"]


def _fully_connected(call: Call) -> tf.Tensor:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    if call.node.input(0).rank == 2:
        result = tf.matmul(x, weight, transpose_b=True)
    else:
        # One matrix product over all leading axes: a batched one repeats the weight for each of them.
        flat = tf.reshape(x, [-1, call.node.input(0).shape[-1]])
        product = tf.matmul(flat, weight, transpose_b=True)
        result = tf.reshape(product, call.shape(call.node.output.shape))
    if bias is not None:
        result = tf.math.add(result, bias)
    return activate(call.node, result)


def _batch_matmul(call: Call) -> tf.Tensor:
    return tf.matmul(
        call.input(0),
        call.input(1),
        transpose_a=call.node.flag("adj_x"),
        transpose_b=call.node.flag("adj_y"),
    )


TRANSLATIONS: Mapping[str, Translation] = computed_wide(
    {
        "BATCH_MATMUL": Translation(emit=_batch_matmul),
        "FULLY_CONNECTED": Translation(emit=_fully_connected),
    }
)
