"""Writes what a simplified model computes in the forms that integer kernels, and the library, take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)

from edgeconv_converters.onnxruntime_quantization.nodes import (
    attributes_of,
    first_output,
    nodes_within,
)

__all__ = ["rewrite_for_kernels"]

# What the library appends to the name of a value to name those that it adds.
_LIBRARY_SUFFIXES = ("_quantized", "_scale", "_zero_point")


def rewrite_for_kernels(model: ModelProto) -> ModelProto:
    """The model with nodes named after their outputs; it computes what it did.

    Args:
        model: Simplified; it is used up.
    """
    _rename_weights(model.graph)
    _name_nodes(model.graph)
    _spread_biases(model.graph)
    inferred = shape_inference.infer_shapes(model).graph
    _declare_outputs(model.graph, inferred)
    _pool_means(model, _ranks(inferred))
    _drop_idle_dilations(model.graph)
    return model


def _drop_idle_dilations(graph: GraphProto) -> None:
    """Leave out dilations of 1: ONNX Runtime 1.32 hands them to its integer average pooling, which does not know them."""
    for node in graph.node:
        for attribute in list(node.attribute) if node.op_type == "AveragePool" else []:
            if attribute.name == "dilations" and set(attribute.ints) == {1}:
                node.attribute.remove(attribute)


def _declare_outputs(graph: GraphProto, inferred: GraphProto) -> None:
    """Give outputs without a shape the one they have: the checker wants one."""
    for value, found in zip(graph.output, inferred.output, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            value.CopyFrom(found)


def _rename_weights(graph: GraphProto) -> None:
    """Give weights whose names look like the library's own other ones."""
    outputs = {value.name for value in graph.output}
    renamed = {
        tensor.name: f"{tensor.name}/weights"
        for tensor in graph.initializer
        if tensor.name.endswith(_LIBRARY_SUFFIXES) and tensor.name not in outputs
    }
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in nodes_within(graph):
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def _name_nodes(graph: GraphProto) -> None:
    """Call every node after its first output, which is unique: plans speak of operators by name."""
    for node in graph.node:
        node.name = first_output(node)


def _spread_biases(graph: GraphProto) -> None:
    """Give each matrix product a bias with one value per output channel, as integer kernels take it."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Gemm" and len(node.input) > 2:
            spread = _spread_bias(node, tensors)
            if spread is not None:
                graph.initializer.append(spread)
                node.input[2] = spread.name


def _spread_bias(node: NodeProto, tensors: Mapping[str, TensorProto]) -> TensorProto | None:
    if node.input[1] not in tensors or node.input[2] not in tensors:
        return None
    is_transposed = bool(attributes_of(node).get("transB", 0))
    channels = tensors[node.input[1]].dims[0 if is_transposed else 1]
    bias = numpy_helper.to_array(tensors[node.input[2]])
    is_row = bias.shape[:-1] in {(), (1,)} and bias.size in {1, channels}
    if bias.shape == (channels,) or not is_row:
        return None
    spread = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (channels,)))
    return numpy_helper.from_array(spread, f"{node.input[2]}/{node.name}")


def _pool_means(model: ModelProto, ranks: Mapping[str, int]) -> None:
    """Write means over all of an image as pooling, which has an integer kernel."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        if rank < 4 or _mean_axes(node, tensors, rank) != set(range(2, rank)):
            nodes.append(node)
            continue
        result = node.output[0]
        is_kept = bool(attributes_of(node).get("keepdims", 1))
        pooled = result if is_kept else f"{result}/pooled"
        nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=pooled))
        if not is_kept:
            nodes.append(helper.make_node("Flatten", [pooled], [result], name=result, axis=1))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _mean_axes(node: NodeProto, tensors: Mapping[str, TensorProto], rank: int) -> set[int]:
    """The axes a mean is taken over, where they are constant."""
    stored = attributes_of(node).get("axes")
    if len(node.input) > 1 and node.input[1] in tensors:
        stored = numpy_helper.to_array(tensors[node.input[1]]).tolist()
    return {int(axis) % rank for axis in stored} if isinstance(stored, list) else set()


def _ranks(graph: GraphProto) -> dict[str, int]:
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
        and value.type.tensor_type.HasField("shape")
    }
