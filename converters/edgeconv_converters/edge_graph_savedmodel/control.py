"""Branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from edgeconv.graph import Tensor
from edgeconv_converters.edge_graph_savedmodel.call import Call, Translation

__all__ = ["TRANSLATIONS"]


def _static_shape(tensor: Tensor) -> tf.TensorShape:
    return tf.TensorShape([size if isinstance(size, int) else None for size in tensor.shape])


def _while(call: Call) -> Sequence[tf.Tensor]:
    condition, body = call.node.subgraph("cond"), call.node.subgraph("body")
    carried = [call.input(i) for i in range(len(call.inputs))]

    def is_wanted(*values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(call.run_graph(condition, values)[0], [])

    def advance(*values: tf.Tensor) -> list[tf.Tensor]:
        return call.run_graph(body, values)

    results: Sequence[tf.Tensor] = tf.while_loop(
        is_wanted,
        advance,
        carried,
        shape_invariants=[_static_shape(tensor) for tensor in body.inputs],
    )
    return results


def _if(call: Call) -> Sequence[tf.Tensor]:
    values = [call.input(i) for i in range(1, len(call.inputs))]

    def run(name: str) -> list[tf.Tensor]:
        return call.run_graph(call.node.subgraph(name), values)

    results: Sequence[tf.Tensor] = tf.cond(
        call.input(0), lambda: run("then_branch"), lambda: run("else_branch")
    )
    return results


TRANSLATIONS: Mapping[str, Translation] = {
    "IF": Translation(emit=_if),
    "WHILE": Translation(emit=_while),
}
