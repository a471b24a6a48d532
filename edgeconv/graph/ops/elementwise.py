"""Operators that work element by element."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, broadcast_shapes, expect, same_as
from edgeconv.signature import DType

__all__ = ["OPS"]

_ACTIVATED = {"fused_activation_function": "NONE"}
_UNARY = (
    "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOG", "LOGISTIC", "NEG", "RELU", "RELU6",
    "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "TANH",
)  # fmt: skip
_BINARY = ("FLOOR_DIV", "FLOOR_MOD", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "ATAN2")
_ARITHMETIC = ("ADD", "SUB", "MUL", "DIV")
_COMPARISON = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
_INTEGER = ("BITWISE_XOR", "RIGHT_SHIFT")
_INTEGER_COMPOSITES = ("BITWISE_AND", "BITWISE_OR", "LEFT_SHIFT")


def _infer_binary(node: Node) -> list[TensorType]:
    left, right = node.input(0), node.input(1)
    expect(left.dtype == right.dtype, node, "the inputs have different dtypes")
    return [(left.dtype, broadcast_shapes(left.shape, right.shape))]


def _infer_comparison(node: Node) -> list[TensorType]:
    return [(DType.BOOL, shape) for _, shape in _infer_binary(node)]


def _infer_logical(node: Node) -> list[TensorType]:
    for tensor in node.inputs:
        expect(tensor is not None and tensor.dtype == DType.BOOL, node, "an input is not bool")
    return [(DType.BOOL, broadcast_shapes(*(t.shape for t in node.inputs if t is not None)))]


def _infer_select(node: Node) -> list[TensorType]:
    condition, left, right = node.input(0), node.input(1), node.input(2)
    expect(condition.dtype == DType.BOOL, node, "the condition is not bool")
    expect(left.dtype == right.dtype, node, "the branches have different dtypes")
    return [(left.dtype, broadcast_shapes(condition.shape, left.shape, right.shape))]


def _infer_cast(node: Node) -> list[TensorType]:
    return [(DType(node.text("dtype")), node.input(0).shape)]


def _infer_bitcast(node: Node) -> list[TensorType]:
    x, dtype = node.input(0), DType(node.text("dtype"))
    ratio, wider = x.dtype.size_bytes // dtype.size_bytes, dtype.size_bytes // x.dtype.size_bytes
    if ratio == 1:
        return [(dtype, x.shape)]
    if ratio > 1:
        return [(dtype, (*x.shape, ratio))]
    expect(x.shape[-1:] == (wider,), node, "the last axis does not hold one element")
    return [(dtype, x.shape[:-1])]


OPS = (
    *(OpSpec(name=n, arity=(1, 1), infer=same_as(0), is_agnostic=True) for n in _UNARY),
    *(OpSpec(name=n, arity=(2, 2), infer=_infer_binary, is_agnostic=True) for n in _BINARY),
    *(OpSpec(name=n, arity=(2, 2), infer=_infer_binary, is_agnostic=True) for n in _INTEGER),
    # TFLite has XOR and the arithmetic right shift alone: the others follow from them and from sums and products.
    *(
        OpSpec(name=n, arity=(2, 2), infer=_infer_binary, is_agnostic=True, is_composite=True)
        for n in _INTEGER_COMPOSITES
    ),
    *(
        OpSpec(name=n, arity=(2, 2), infer=_infer_binary, attributes=_ACTIVATED, is_agnostic=True)
        for n in _ARITHMETIC
    ),
    *(OpSpec(name=n, arity=(2, 2), infer=_infer_comparison, is_agnostic=True) for n in _COMPARISON),
    *(
        OpSpec(name=n, arity=(2, 2), infer=_infer_logical, is_agnostic=True)
        for n in ("LOGICAL_AND", "LOGICAL_OR")
    ),
    OpSpec(name="LOGICAL_NOT", arity=(1, 1), infer=_infer_logical, is_agnostic=True),
    OpSpec(name="SELECT_V2", arity=(3, 3), infer=_infer_select, is_agnostic=True),
    OpSpec(name="CAST", arity=(1, 1), infer=_infer_cast, required=("dtype",), is_agnostic=True),
    OpSpec(
        name="GELU",
        arity=(1, 1),
        infer=same_as(0),
        attributes={"approximate": False},
        is_agnostic=True,
    ),
    OpSpec(
        name="LEAKY_RELU", arity=(1, 1), infer=same_as(0), required=("alpha",), is_agnostic=True
    ),
    OpSpec(name="PRELU", arity=(2, 2), infer=_infer_binary, is_agnostic=True),
    # TFLite has no error functions: kept whole for TensorFlow, approximations for TFLite.
    *(
        OpSpec(name=n, arity=(1, 1), infer=same_as(0), is_agnostic=True, is_composite=True)
        for n in ("ERF", "ERFC")
    ),
    # The same bytes in another dtype: of a narrower one there are several in a new last axis, which a wider one takes back.
    OpSpec(name="BITCAST", arity=(1, 1), infer=_infer_bitcast, required=("dtype",)),
)
