"""Stores the weights of integer kernels without a sign: ONNX Runtime's sums are exact then on every processor.

Without VNNI instructions, x86 processors multiply unsigned by signed 8-bit integers with `vpmaddubsw`, which adds two products
into 16 bits and saturates. Of two unsigned factors ONNX Runtime makes 16-bit integers first. Where there are VNNI
instructions, and on ARM, it has one kernel for matrix products with either kind of weights. Source: `core/mlas/lib/platform.cpp`
of ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgeconv_converters.onnxruntime_quantization.nodes import nodes_within

__all__ = ["store_unsigned"]

# Where operators read integers, and the zero points of these.
_PLACES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "ConvInteger": ((1, 3),),
    "DequantizeLinear": ((0, 2),),
    "DynamicQuantizeLSTM": ((1, 9), (2, 11)),
    "MatMulInteger": ((1, 3),),
}
_SHIFT = 128


def store_unsigned(model: ModelProto, operators: Collection[str] | None = None) -> None:
    """Write signed 8-bit weights 128 higher, and their zero points too: they stand for the same numbers. In place.

    Args:
        model: Quantized; what has no zero points stays as it is.
        operators: Names of those whose weights are changed, where a `DequantizeLinear` reads them; all of them unless given.
    """
    nodes = list(nodes_within(model.graph))
    read = {name for node in nodes if node.name in (operators or ()) for name in node.input}
    names = {
        name
        for node in nodes
        if operators is None or node.output[0] in read
        for name in _integers_of(node)
    }
    for tensor in model.graph.initializer:
        if tensor.name in names and tensor.data_type == TensorProto.INT8:
            signed = numpy_helper.to_array(tensor).astype(np.int16)
            unsigned = (signed + _SHIFT).astype(np.uint8)
            tensor.CopyFrom(numpy_helper.from_array(unsigned, tensor.name))


def _integers_of(node: NodeProto) -> Iterator[str]:
    for integers, zeros in _PLACES.get(node.op_type, ()):
        if zeros < len(node.input) and node.input[zeros]:
            yield from (node.input[integers], node.input[zeros])
