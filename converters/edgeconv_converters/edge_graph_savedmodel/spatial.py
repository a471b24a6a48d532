"""Convolution, pooling and resizing, channels last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from edgeconv.graph import GraphError, Node
from edgeconv_converters.edge_graph_savedmodel.activation import activate
from edgeconv_converters.edge_graph_savedmodel.call import ArrayLibrary, Call, Translation
from edgeconv_converters.edge_graph_savedmodel.precision import computed_wide

__all__ = ["TRANSLATIONS"]


def _conv_2d_weight(_node: Node, weight: tf.Tensor, library: ArrayLibrary) -> tf.Tensor:
    """[outputs, h, w, channels] to TensorFlow's [h, w, channels, outputs]."""
    return library.transpose(weight, (1, 2, 3, 0))


def _depthwise_weight(node: Node, weight: tf.Tensor, library: ArrayLibrary) -> tf.Tensor:
    """[1, h, w, channels * multiplier] to [h, w, channels, multiplier], or [h, w, 1, outputs] where grouped."""
    _, height, width, outputs = _static(node, weight.shape)
    multiplier = node.integer("depth_multiplier")
    last = (1, outputs) if _needs_grouped(node) else (outputs // multiplier, multiplier)
    return library.reshape(weight, (height, width, *last))


def _transpose_conv_weight(_node: Node, weight: tf.Tensor, library: ArrayLibrary) -> tf.Tensor:
    """[outputs, h, w, channels] to TensorFlow's [h, w, outputs, channels]."""
    return library.transpose(weight, (1, 2, 0, 3))


def _static(node: Node, shape: Sequence[int | None]) -> tuple[int, ...]:
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise GraphError(f"'{node.op}' has a weight whose size is not known")
    return sizes


def _strides(node: Node, axes: str = "hw") -> list[int]:
    return [1, *(node.integer(f"stride_{axis}") for axis in axes), 1]


def _dilations(node: Node, axes: str = "hw") -> list[int]:
    return [1, *(node.integer(f"dilation_{axis}_factor") for axis in axes), 1]


def _finish(call: Call, result: tf.Tensor, *, is_grouped: bool = False) -> tf.Tensor:
    bias = call.optional(2)
    if bias is not None and is_grouped:
        # TensorFlow's optimizer joins a convolution and its bias, and the joint kernel knows no groups unless oneDNN
        # has it ("Fused conv implementation does not support grouped convolutions"); a sum is only joined for oneDNN.
        result = tf.add(result, bias)
    elif bias is not None:
        result = tf.nn.bias_add(result, bias)
    return activate(call.node, result)


def _conv_2d(call: Call) -> tf.Tensor:
    node = call.node
    # Groups follow from the channels of the weight; TensorFlow's CPU kernel takes them, dilated too.
    result = tf.nn.conv2d(
        call.input(0),
        call.input(1),
        strides=_strides(node),
        padding=node.text("padding"),
        dilations=_dilations(node),
    )
    is_grouped = call.input(0).shape[-1] != call.input(1).shape[2]
    return _finish(call, result, is_grouped=is_grouped)


def _needs_grouped(node: Node) -> bool:
    """Whether TensorFlow's depthwise kernel lacks it: it has equal strides and no dilation."""
    _, stride_h, stride_w, _ = _strides(node)
    return stride_h != stride_w or _dilations(node) != [1, 1, 1, 1]


def _depthwise_conv_2d(call: Call) -> tf.Tensor:
    if _needs_grouped(call.node):
        return _conv_2d(call)
    result = tf.raw_ops.DepthwiseConv2dNative(
        input=call.input(0),
        filter=call.input(1),
        strides=_strides(call.node),
        padding=call.node.text("padding"),
    )
    return _finish(call, result)


def _conv_3d(call: Call) -> tf.Tensor:
    node = call.node
    groups = int(call.input(0).shape[-1] // call.input(1).shape[3])
    parts = zip(
        tf.split(call.input(0), groups, axis=-1),
        tf.split(_spread(node, call.input(1)), groups, axis=-1),
        strict=True,
    )
    results = [
        tf.nn.conv3d(x, weight, strides=_strides(node, "dhw"), padding=node.text("padding"))
        for x, weight in parts
    ]
    return _finish(call, results[0] if groups == 1 else tf.concat(results, axis=-1))


def _spread(node: Node, weight: tf.Tensor) -> tf.Tensor:
    """The weight with zeros between its taps: TensorFlow's CPU kernel has no dilation of volumes."""
    for axis, factor in enumerate(_dilations(node, "dhw")[1:4]):
        if factor > 1:
            weight = _spread_axis(weight, axis, factor)
    return weight


def _spread_axis(weight: tf.Tensor, axis: int, factor: int) -> tf.Tensor:
    taps = weight.shape[axis]
    where = [[tap * factor] for tap in range(taps)]
    order = [axis, *(other for other in range(5) if other != axis)]
    first = tf.transpose(weight, order)
    shape = [(taps - 1) * factor + 1, *first.shape[1:]]
    back = [order.index(position) for position in range(5)]
    return tf.transpose(tf.scatter_nd(where, first, shape), back)


def _transpose_conv(call: Call) -> tf.Tensor:
    result = tf.nn.conv2d_transpose(
        call.input(0),
        call.input(1),
        output_shape=call.vector("output_shape"),
        strides=_strides(call.node),
        padding=call.node.text("padding"),
    )
    return _finish(call, result)


def _conv_3d_transpose(call: Call) -> tf.Tensor:
    result = tf.nn.conv3d_transpose(
        call.input(0),
        call.input(1),
        output_shape=call.vector("output_shape"),
        strides=_strides(call.node, "dhw"),
        padding=call.node.text("padding"),
    )
    return _finish(call, result)


def _pool(function: Callable[..., tf.Tensor]) -> Translation:
    def emit(call: Call) -> tf.Tensor:
        node = call.node
        window = [node.integer("filter_height"), node.integer("filter_width")]
        strides = _strides(node)[1:3]
        return activate(node, function(call.input(0), window, strides, node.text("padding")))

    return Translation(emit=emit)


def _resize(function: Callable[..., tf.Tensor]) -> Translation:
    def emit(call: Call) -> tf.Tensor:
        result = function(
            images=call.input(0),
            size=call.vector("size"),
            align_corners=call.node.flag("align_corners"),
            half_pixel_centers=call.node.flag("half_pixel_centers"),
        )
        return tf.cast(result, call.input(0).dtype)

    return Translation(emit=emit)


TRANSLATIONS: Mapping[str, Translation] = computed_wide(
    {
        "AVERAGE_POOL_2D": _pool(tf.nn.avg_pool2d),
        "CONV_2D": Translation(emit=_conv_2d, arrange={1: _conv_2d_weight}),
        "CONV_3D": Translation(emit=_conv_3d),
        "CONV_3D_TRANSPOSE": Translation(emit=_conv_3d_transpose),
        "DEPTHWISE_CONV_2D": Translation(emit=_depthwise_conv_2d, arrange={1: _depthwise_weight}),
        "MAX_POOL_2D": _pool(tf.nn.max_pool2d),
        "RESIZE_BILINEAR": _resize(tf.raw_ops.ResizeBilinear),
        "RESIZE_NEAREST_NEIGHBOR": _resize(tf.raw_ops.ResizeNearestNeighbor),
        "TRANSPOSE_CONV": Translation(emit=_transpose_conv, arrange={1: _transpose_conv_weight}),
    }
)
