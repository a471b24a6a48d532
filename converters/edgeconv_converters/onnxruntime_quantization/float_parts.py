"""What stays in float32 beside integer operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableSequence

from onnx import ModelProto, NodeProto

__all__ = ["keep_float_between_float", "keep_float_outputs", "leave_outputs_float"]


def leave_outputs_float(model: ModelProto, made_by: Mapping[str, str]) -> None:
    """Let matrix products that make an output give it in float32, as their kernels can, unless it is read by others.

    Args:
        model: With pairs of quantize and dequantize.
        made_by: By the name of an output, that of the operator which made it in the float model. Where this was a clamp behind
            the product, it has vanished into the pair's scale, and would be lost with the pair.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    read = {name for node in model.graph.node for name in node.input}
    for value in model.graph.output:
        there = _behind_pair(value.name, makers)
        product = makers.get(there)
        if product is None or value.name in read or product.op_type not in {"Gemm", "MatMul"}:
            continue
        if made_by.get(value.name) != product.name:
            continue
        back = makers[value.name]
        model.graph.node.remove(makers[back.input[0]])
        model.graph.node.remove(back)
        product.output[0] = value.name


def keep_float_outputs(model: ModelProto, quantized: Collection[str]) -> None:
    """Let an output that a float operator makes be what it computed, where integer operators read it as well."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        computed = _behind_pair(value.name, makers)
        maker = makers.get(computed)
        if maker is None or maker.name in quantized:
            continue
        back = makers[value.name]
        rounded = f"{value.name}_DequantizeLinear_Output"
        for node in model.graph.node:
            _replace(node.input, {value.name: rounded} if node.name in quantized else {})
            _replace(node.input, {computed: value.name})
        back.output[0] = rounded
        _replace(maker.output, {computed: value.name})


def _replace(names: MutableSequence[str], renamed: Mapping[str, str]) -> None:
    for index, name in enumerate(names):
        names[index] = renamed.get(name, name)


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
    return str(there.input[0])
