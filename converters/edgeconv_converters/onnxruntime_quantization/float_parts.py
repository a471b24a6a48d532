"""What stays in float32 beside integer operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnx import ModelProto, NodeProto

__all__ = ["keep_float_between_float", "leave_outputs_float"]


def leave_outputs_float(model: ModelProto) -> None:
    """Let matrix products that make an output give it in float32, as their kernels can, unless it is read by others."""
    makers = {name: node for node in model.graph.node for name in node.output}
    read = {name for node in model.graph.node for name in node.input}
    for value in model.graph.output:
        there = _behind_pair(value.name, makers)
        product = makers.get(there)
        if product is None or value.name in read or product.op_type not in {"Gemm", "MatMul"}:
            continue
        back = makers[value.name]
        model.graph.node.remove(makers[back.input[0]])
        model.graph.node.remove(back)
        product.output[0] = value.name


def keep_float_between_float(model: ModelProto, quantized: Collection[str]) -> None:
    """Let a float operator read what another one computed, not its rounded value, which is there for integer operators."""
    makers = {name: node for node in model.graph.node for name in node.output}
    inputs = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"} or node.name in quantized:
            continue
        for index, name in enumerate(node.input):
            pair = _behind_pair(name, makers)
            if pair and (pair in inputs or (pair in makers and makers[pair].name not in quantized)):
                node.input[index] = pair


def _behind_pair(name: str, makers: Mapping[str, NodeProto]) -> str:
    """What is quantized and dequantized again under this name; empty if nothing is."""
    back = makers.get(name)
    if back is None or back.op_type != "DequantizeLinear":
        return ""
    there = makers.get(back.input[0])
    if there is None or there.op_type != "QuantizeLinear":
        return ""
    return there.input[0]
