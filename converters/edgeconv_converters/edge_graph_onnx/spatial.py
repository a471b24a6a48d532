"""Convolution, pooling, resizing, normalization and recurrence, channels first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeconv.graph import Node
from edgeconv_converters.edge_graph_onnx.call import Call, Translation

__all__ = ["TRANSLATIONS"]


def _window(node: Node) -> dict[str, list[int]]:
    strides, before, after, dilations = (
        list(node.integers(name)) for name in ("strides", "before", "after", "dilations")
    )
    return {"strides": strides, "pads": [*before, *after], "dilations": dilations}


def _conv(call: Call) -> str:
    kernel = [int(str(size)) for size in call.node.input(1).shape[2:]]
    return call.op(
        "Conv",
        call.input(0),
        call.input(1),
        *call.optional(2),
        kernel_shape=kernel,
        group=call.node.integer("groups"),
        **_window(call.node),
    )


def _conv_transpose(call: Call) -> str:
    kernel = [int(str(size)) for size in call.node.input(1).shape[2:]]
    return call.op(
        "ConvTranspose",
        call.input(0),
        call.input(1),
        *call.optional(2),
        kernel_shape=kernel,
        group=call.node.integer("groups"),
        output_padding=list(call.node.integers("output_padding")),
        **_window(call.node),
    )


def _max_pool(call: Call) -> str:
    kernel = list(call.node.integers("kernel"))
    return call.op("MaxPool", call.input(0), kernel_shape=kernel, **_window(call.node))


def _average_pool(call: Call) -> str:
    return call.op(
        "AveragePool",
        call.input(0),
        kernel_shape=list(call.node.integers("kernel")),
        count_include_pad=int(call.node.flag("counts_padding")),
        **_window(call.node),
    )


def _resize(call: Call) -> str:
    node, x = call.node, call.node.input(0)
    return call.op(
        "Resize",
        call.input(0),
        "",
        "",
        call.sizes.vector((*x.shape[:2], *node.sizes("size"))),
        mode=node.text("mode"),
        coordinate_transformation_mode=node.text("coordinates"),
        nearest_mode=node.text("rounding"),
    )


def _grid_sample(call: Call) -> str:
    node = call.node
    return call.op(
        "GridSample",
        call.input(0),
        call.input(1),
        mode=node.text("mode"),
        padding_mode=node.text("padding_mode"),
        align_corners=int(node.flag("align_corners")),
    )


def _layer_norm(call: Call) -> str:
    inputs = (call.input(0), call.input(1), *call.optional(2))
    axis, epsilon = call.node.integer("axis"), call.node.real("epsilon")
    return call.op("LayerNormalization", *inputs, axis=axis, epsilon=epsilon)


def _batch_norm(call: Call) -> str:
    """Of what has the mean 0 and the variance 1 already."""
    channels = (int(str(call.node.input(1).shape[0])),)
    mean, variance = (
        call.emitter.constants.add(np.full(channels, value, np.float32), call.dtype, "constant")
        for value in (0, 1)
    )
    inputs = (*(call.input(i) for i in range(3)), mean, variance)
    return call.op("BatchNormalization", *inputs, epsilon=0.0)


def _instance_norm(call: Call) -> str:
    inputs = [call.input(i) for i in range(3)]
    return call.op("InstanceNormalization", *inputs, epsilon=call.node.real("epsilon"))


def _recurrent(op_type: str) -> Translation:
    def emit(call: Call) -> list[str]:
        node = call.node
        x, weight, hidden, biases, *states = call.inputs
        attributes: dict[str, object] = {
            "hidden_size": node.integer("hidden_size"),
            "direction": node.text("direction"),
        }
        if op_type == "GRU":
            # PyTorch resets the product with the state, not the state.
            attributes["linear_before_reset"] = 1
        if op_type == "RNN":
            directions = int(str(node.input(1).shape[0]))
            attributes["activations"] = [node.text("activation").capitalize()] * directions
        inputs = (x, weight, hidden, biases, "", *states)
        return call.emitter.ops(op_type, len(node.outputs), *inputs, **attributes)

    return emit


TRANSLATIONS: Mapping[str, Translation] = {
    "AVERAGE_POOL": _average_pool,
    "BATCH_NORM": _batch_norm,
    "CONV": _conv,
    "CONV_TRANSPOSE": _conv_transpose,
    "GRID_SAMPLE": _grid_sample,
    "GRU": _recurrent("GRU"),
    "INSTANCE_NORM": _instance_norm,
    "LAYER_NORM": _layer_norm,
    "LSTM": _recurrent("LSTM"),
    "MAX_POOL": _max_pool,
    "RESIZE": _resize,
    "RNN": _recurrent("RNN"),
}
