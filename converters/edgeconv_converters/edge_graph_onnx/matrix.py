"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeconv.graph import GraphError, Node, Tensor
from edgeconv_converters.edge_graph_onnx.call import Call, Translation
from edgeconv_converters.edge_graph_onnx.stored import add_constant

__all__ = ["TRANSLATIONS", "reads_transposed"]


def reads_transposed(node: Node, index: int) -> bool:
    """Whether an input is a weight that is stored transposed: ONNX's product of more than two axes has no flag for it."""
    return node.op == "FULLY_CONNECTED" and index == 1 and not _is_gemm(node)


def _is_gemm(node: Node) -> bool:
    return node.input(0).rank == 2 and node.input(0).dtype.is_floating


def _fully_connected(call: Call) -> str:
    weight = call.node.input(1)
    if _is_gemm(call.node):
        return call.op("Gemm", call.input(0), call.input(1), *call.optional(2), transB=1)
    constants = call.emitter.constants
    if weight.constant is not None and not constants.is_expected(weight.constant):
        matrix = add_constant(call.emitter, _transposed(weight))
    else:
        matrix = call.op("Transpose", call.input(1), perm=[1, 0])
    result = call.op("MatMul", call.input(0), matrix)
    bias = call.node.inputs[2] if len(call.node.inputs) > 2 else None
    if bias is None or (bias.constant is not None and not bias.constant.any()):
        return result
    return call.op("Add", result, call.input(2))


def _transposed(weight: Tensor) -> Tensor:
    if weight.constant is None:
        raise GraphError(f"{weight!r} is no constant")
    turned = replace(weight, constant=weight.constant.T, shape=weight.shape[::-1])
    turned.quantization = weight.quantization and weight.quantization.transposed((1, 0))
    return turned


def _batch_matmul(call: Call) -> str:
    sides = []
    for index, flag in enumerate(("adj_x", "adj_y")):
        rank, name = call.node.input(index).rank, call.input(index)
        if call.node.flag(flag):
            name = call.op("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])
        sides.append(name)
    return call.op("MatMul", *sides)


TRANSLATIONS: Mapping[str, Translation] = {
    "BATCH_MATMUL": _batch_matmul,
    "FULLY_CONNECTED": _fully_connected,
}
