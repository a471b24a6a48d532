"""Real numbers to integers and back, with scales that were trained or measured."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect
from edgeconv.signature import DType

__all__ = ["OPS"]

_STORED = (DType.INT8, DType.UINT8, DType.INT16)


def _infer_quantize(node: Node) -> list[TensorType]:
    x, dtype = node.input(0), DType(node.text("dtype"))
    expect(x.dtype == DType.FLOAT32, node, "the input is not float32")
    expect(dtype in _STORED and node.real("scale") > 0, node, "no such integers")
    return [(dtype, x.shape)]


def _infer_dequantize(node: Node) -> list[TensorType]:
    x = node.input(0)
    expect(x.dtype in _STORED and node.real("scale") > 0, node, "the input holds no such integers")
    return [(DType.FLOAT32, x.shape)]


OPS = (
    # round(x / scale) + zero_point, halves to even, clipped to what the dtype holds.
    OpSpec(
        name="QUANTIZE",
        arity=(1, 1),
        infer=_infer_quantize,
        required=("scale", "zero_point", "dtype"),
        is_agnostic=True,
    ),
    # The real number that stands for an integer: its distance to the zero point, times the scale.
    OpSpec(
        name="DEQUANTIZE",
        arity=(1, 1),
        infer=_infer_dequantize,
        required=("scale", "zero_point"),
        is_agnostic=True,
    ),
)
