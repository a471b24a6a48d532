"""The version that each operator must declare, so that a runtime too old for it says so instead of failing.

A version depends on dtypes, ranks and options. The facts are those of the version table of TensorFlow Lite and
LiteRT (`op_version.cc`), for the operators that are written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.program import Operator

__all__ = ["find_version"]

Condition: TypeAlias = Callable[[Operator], bool]


def _dtype(operator: Operator, position: int) -> DType | None:
    tensors = [*operator.inputs, *operator.outputs]
    tensor = tensors[position] if position < len(tensors) else None
    return None if tensor is None else tensor.dtype


def _takes(*dtypes: str, position: int = 0) -> Condition:
    return lambda operator: _dtype(operator, position) in dtypes


def _touches(*dtypes: str) -> Condition:
    """Any input or output has one of the dtypes."""
    return lambda operator: any(
        t is not None and t.dtype in dtypes for t in (*operator.inputs, *operator.outputs)
    )


def _rank_above(rank: int) -> Condition:
    return lambda operator: operator.inputs[0] is not None and operator.inputs[0].rank > rank


def _broadcasts_above(rank: int) -> Condition:
    def holds(operator: Operator) -> bool:
        shapes = [tensor.shape for tensor in operator.inputs if tensor is not None]
        return len(set(shapes)) > 1 and max(map(len, shapes)) > rank

    return holds


def _has(option: str, *values: object) -> Condition:
    return lambda operator: operator.options.get(option) in values


def _differs(option: str, value: object) -> Condition:
    return lambda operator: operator.options.get(option, value) != value


def _is_grouped(operator: Operator) -> bool:
    x, weight = operator.inputs[:2]
    return x is not None and weight is not None and x.shape[-1] != weight.shape[-1]


def _grows(operator: Operator) -> bool:
    """Whether an integer product has larger steps before it is scaled than after."""
    tensors = [t for t in (*operator.inputs[:2], *operator.outputs) if t is not None]
    scales = [t.quantization.scales[0] for t in tensors if t.quantization is not None]
    return len(scales) == 3 and scales[0] * scales[1] >= scales[2]


def _has_inputs(count: int) -> Condition:
    return lambda operator: len(operator.inputs) == count


_BYTES = ("int8", "int16")
_PLAIN = ((2, _takes("int8")),)
_SHORT = ((3, _takes("int16")), *_PLAIN)
_ON = (True,)
_PADDING = ((5, _takes("bool")), (4, _rank_above(4)), *_SHORT)
_EXTREMUM = ((4, _takes("int16")), (3, _broadcasts_above(4)), *_PLAIN)
_RESIZE_NEAREST = _has("halfPixelCenters", *_ON)

# The first condition that holds gives the version; 1 when none does.
_RULES: dict[str, tuple[tuple[int, Condition], ...]] = {
    "ABS": ((5, _takes("int32")), (4, _takes("int16")), (2, _takes("int8", "uint8"))),
    "ADD": (
        (6, _takes("float16")),
        (5, _takes("int16")),
        (4, _takes("int64")),
        *_PLAIN,
    ),
    "ARG_MAX": ((3, _takes("bool")), *_PLAIN),
    "ARG_MIN": ((3, _takes("bool")), *_PLAIN),
    "AVERAGE_POOL_2D": _SHORT,
    "BATCH_MATMUL": _SHORT,
    "BROADCAST_TO": ((3, _takes(*_BYTES)), (2, lambda _: True)),
    "CAST": (
        (7, _touches("bfloat16")),
        (5, _touches("float16", "float64")),
        (4, _touches("uint16")),
        (3, _touches("int8")),
        (2, _touches("uint32")),
    ),
    "CONCATENATION": ((6, _takes("float16")), (4, _takes("uint32")), *_SHORT),
    "CONV_2D": ((6, _is_grouped), (3, _takes("int8"))),
    "DEPTHWISE_CONV_2D": (
        (3, _takes("int8")),
        (2, _differs("dilationHFactor", 1)),
        (2, _differs("dilationWFactor", 1)),
    ),
    "DEPTH_TO_SPACE": _PLAIN,
    "DEQUANTIZE": _SHORT,
    "DIV": ((2, _broadcasts_above(4)),),
    "DYNAMIC_UPDATE_SLICE": (
        (6, _takes("bfloat16")),
        (4, _takes("int16")),
        (3, _takes("float16")),
        (2, _takes("int64", position=2)),
    ),
    "EQUAL": ((5, _takes("int16")), *_PLAIN),
    "EXP": ((2, _takes(*_BYTES)),),
    "FILL": (
        (4, _takes("float16", position=1)),
        (3, _takes(*_BYTES, position=1)),
        (2, _takes("bool", position=1)),
    ),
    "FLOOR_DIV": ((3, _takes(*_BYTES)), (2, _takes("float32"))),
    "FLOOR_MOD": ((2, _takes(*_BYTES)),),
    "FULLY_CONNECTED": ((6, _has_inputs(2)), (5, _has("keepNumDims", *_ON)), (4, _takes("int8"))),
    "GATHER": (
        (6, _takes("int16", position=1)),
        (5, _differs("batchDims", 0)),
        (4, _takes("int16")),
        (3, _takes("bool")),
        *_PLAIN,
    ),
    "GATHER_ND": (
        (5, _takes("bool")),
        (4, _takes("int16", position=1)),
        (3, _takes("int16")),
    ),
    "GELU": ((2, _takes("int8", "uint8")),),
    "GREATER": _PLAIN,
    "GREATER_EQUAL": _SHORT,
    "LEAKY_RELU": ((2, _takes("int16")),),
    "LESS": _SHORT,
    "LESS_EQUAL": _PLAIN,
    "LOG": ((2, _takes(*_BYTES)),),
    "LOGISTIC": _SHORT,
    "LOG_SOFTMAX": _PLAIN,
    "MAXIMUM": _EXTREMUM,
    "MAX_POOL_2D": _SHORT,
    "MEAN": _SHORT,
    "MINIMUM": _EXTREMUM,
    "MIRROR_PAD": _SHORT,
    "MUL": ((7, _takes("int16", "uint32")), (5, _takes("int64")), (3, _grows), *_PLAIN),
    "NOT_EQUAL": ((4, _takes("int16")), *_PLAIN),
    "PACK": ((4, _takes("uint32")), *_SHORT),
    "PAD": _PADDING,
    "PADV2": _PADDING,
    "QUANTIZE": ((2, _takes("int16", position=1)),),
    "RANGE": ((2, _takes("int64")),),
    "REDUCE_MAX": _SHORT,
    "REDUCE_MIN": _SHORT,
    "REDUCE_PROD": ((2, _takes(*_BYTES)),),
    "RELU": ((3, _takes("int16")), (2, _takes("int8", "uint8"))),
    "RELU6": _SHORT,
    "RESIZE_BILINEAR": ((4, _takes("int16")), (3, _RESIZE_NEAREST), *_PLAIN),
    "RESIZE_NEAREST_NEIGHBOR": (
        (4, _takes("int16")),
        (3, _RESIZE_NEAREST),
        (3, _has("alignCorners", *_ON)),
        *_PLAIN,
    ),
    "REVERSE_V2": ((3, _takes("int8")), (2, _takes("bool"))),
    "RSQRT": _SHORT,
    "SELECT_V2": ((2, _takes("uint32")),),
    "SIGN": ((2, _takes("int32")),),
    "SOFTMAX": ((4, _takes("float16")), *_SHORT),
    "SPACE_TO_DEPTH": _PLAIN,
    "SPLIT_V": _PLAIN,
    "SQRT": ((2, _takes(*_BYTES)),),
    "SQUARED_DIFFERENCE": _PLAIN,
    "STRIDED_SLICE": (
        (7, _takes("uint32")),
        (4, _rank_above(4)),
        (3, _takes("bool")),
        *_PLAIN,
    ),
    "SUB": ((5, _takes("int16")), (4, _takes("int64")), (3, _broadcasts_above(4)), *_PLAIN),
    "SUM": _PLAIN,
    "TANH": _SHORT,
    "TILE": ((3, _takes("int8")),),
    "TOPK_V2": ((3, _takes("int16")), *_PLAIN),
    "TRANSPOSE": (
        (9, _takes("float16")),
        (8, _takes("bfloat16")),
        (8, _rank_above(6)),
        (6, _rank_above(5)),
        (5, _takes("int16")),
        (4, _rank_above(4)),
        (3, _takes("bool")),
        *_PLAIN,
    ),
    "TRANSPOSE_CONV": (
        (4, _differs("fusedActivationFunction", "NONE")),
        (3, _has_inputs(4)),
        (2, _takes("int8", position=1)),
    ),
}


def find_version(operator: Operator) -> int:
    """The version an operator must declare."""
    for version, holds in _RULES.get(operator.code, ()):
        if holds(operator):
            return version
    return 1
