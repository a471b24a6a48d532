"""Weights that are stored as integers and become float32 again before they are used.

A `DequantizeLinear` stands between the integers and their reader, and gives them under the name that the float weights
had. ONNX Runtime keeps the integers in memory, and makes `MatMulNBits` of those in front of a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeconv.plugin.quantizer import Operator, Precision
from edgeconv_converters.onnxruntime_quantization.products import split_gemms

__all__ = ["store_weights"]

_LARGEST = {"int8": 127, "int4": 7}


@dataclass(frozen=True, slots=True)
class _Integers:
    """Quantized weights: whole numbers, scales, and the axis and block size of these."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int
    block: int


def store_weights(
    model: ModelProto, operators: Mapping[str, Operator], precisions: Mapping[str, Precision]
) -> None:
    """Store the weights of operators as integers.

    Args:
        model: It is changed.
        operators: By name; each that `precisions` names has weights.
        precisions: By operator name.
    """
    blockwise = {name for name, precision in precisions.items() if precision.block}
    split_gemms(model, blockwise)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    done: set[str] = set()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name not in precisions:
            continue
        precision = precisions[node.name]
        for name, axis in _stored_weights(node, operators[node.name], precision):
            if name not in done:
                array = numpy_helper.to_array(tensors[name]).astype(np.float32)
                integers = _quantize(array, axis, precision)
                nodes.append(_add_tensors(model, name, integers, precision.weights))
                model.graph.initializer.remove(tensors[name])
                done.add(name)
    everything = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(everything)


def _stored_weights(
    node: NodeProto, operator: Operator, precision: Precision
) -> Iterator[tuple[str, int]]:
    """The names of a node's weights, and the axis along which their scales are."""
    if operator.weights is None:
        # Recurrent: those of the input and of the state, [directions, gates, inputs].
        yield from ((name, 1) for name in node.input[1:3])
    else:
        # Where blocks are wanted, matrix products are [inputs, outputs] by now.
        yield node.input[1], 0 if precision.block else operator.weights.output_axis


def _quantize(array: NDArray[np.float32], axis: int, precision: Precision) -> _Integers:
    """Symmetric integers, with a scale for each index of an axis, or for each block along it.

    Where no two values share a scale along the other axes, the scales have the array's shape, but for that axis.
    """
    largest = _LARGEST[precision.weights]
    if not precision.block:
        others = tuple(a for a in range(array.ndim) if a != axis)
        scales = _scale(np.abs(array).max(axis=others), largest)
        shape = [-1 if a == axis else 1 for a in range(array.ndim)]
        values = np.rint(array / scales.reshape(shape))
        return _Integers(_clip(values, largest), scales, axis, 0)
    starts = np.arange(0, array.shape[axis], precision.block)
    scales = _scale(np.maximum.reduceat(np.abs(array), starts, axis=axis), largest)
    spread = np.repeat(scales, precision.block, axis=axis).take(range(array.shape[axis]), axis)
    return _Integers(_clip(np.rint(array / spread), largest), scales, axis, precision.block)


def _scale(peaks: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    """Scales at which the peaks are the largest integer; 1 where everything is 0."""
    scales = (peaks / largest).astype(np.float32)
    return np.where(scales < np.finfo(np.float32).tiny, np.float32(1), scales)


def _clip(values: NDArray[np.float32], largest: int) -> NDArray[np.int8]:
    return np.clip(values, -largest, largest).astype(np.int8)


def _add_tensors(model: ModelProto, name: str, integers: _Integers, kind: str) -> NodeProto:
    stored, scale = f"{name}_quantized", f"{name}_scale"
    if kind == "int4":
        tensor = _pack_int4(integers.values, stored)
    else:
        tensor = numpy_helper.from_array(integers.values, stored)
    model.graph.initializer.append(tensor)
    model.graph.initializer.append(numpy_helper.from_array(integers.scales, scale))
    node = helper.make_node(
        "DequantizeLinear",
        [stored, scale],
        [name],
        name=f"{name}_dequantize",
        axis=integers.axis,
    )
    if integers.block:
        node.attribute.append(helper.make_attribute("block_size", integers.block))
    return node


def _pack_int4(values: NDArray[np.int8], name: str) -> TensorProto:
    """Two to a byte, the first in the low half, as onnx.proto says."""
    flat = (values.reshape(-1) & 0x0F).astype(np.uint8)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed = (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)
    return helper.make_tensor(name, TensorProto.INT4, values.shape, packed.tobytes(), raw=True)
