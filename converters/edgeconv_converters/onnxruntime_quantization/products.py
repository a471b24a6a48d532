"""Matrix products in the form that some kernels want: without a bias, and with the weights as [inputs, outputs]."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgeconv_converters.onnxruntime_quantization.nodes import attributes_of

__all__ = ["split_gemms"]


def split_gemms(model: ModelProto, names: Collection[str]) -> None:
    """Write Gemm nodes as MatMul and Add; what they compute stays under its name.

    Args:
        model: It is changed.
        names: Of nodes; those that are no Gemm are left alone. Weights must be constant, alpha and beta 1.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.name not in names:
            nodes.append(node)
            continue
        weights = node.input[1]
        if attributes_of(node).get("transB", 0):
            weights = f"{node.input[1]}/transposed"
            if weights not in tensors:
                array = np.ascontiguousarray(numpy_helper.to_array(tensors[node.input[1]]).T)
                tensors[weights] = model.graph.initializer.add()
                tensors[weights].CopyFrom(numpy_helper.from_array(array, weights))
        bias = node.input[2] if len(node.input) > 2 else ""
        product = f"{node.output[0]}/product" if bias else node.output[0]
        nodes.append(
            helper.make_node("MatMul", [node.input[0], weights], [product], name=node.name)
        )
        if bias:
            nodes.append(
                helper.make_node("Add", [product, bias], [node.output[0]], name=f"{node.name}/bias")
            )
            value = model.graph.value_info.add()
            value.CopyFrom(helper.make_tensor_value_info(product, 1, None))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
