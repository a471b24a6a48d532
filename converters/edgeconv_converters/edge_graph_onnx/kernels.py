"""What ONNX Runtime's CPU kernels take of opset 20: dtypes of each operator that is written.

`tests/converters/test_onnx_kernels.py` asks the runtime for them again. Half precision stands for single precision: ONNX has
it for every operator of floating-point numbers, and ONNX Runtime casts by itself where it has no kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.passes.legalize import Kernel, KernelSet
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.expansions import EXPANSIONS

__all__ = ["KERNELS", "ONNX"]

_INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64"
_SINGLE = "float16 float32"
_FLOATS = f"{_SINGLE} float64"
_NUMBERS = f"{_FLOATS} {_INTEGERS}"
_WIDE = f"{_FLOATS} int32 int64"
_REPEATED = f"{_NUMBERS} bool"
_ANY = f"{_REPEATED} bfloat16"


def _kernel(dtypes: str, indices: Mapping[int, tuple[DType, ...]] | None = None) -> Kernel:
    return Kernel(dtypes=frozenset(map(DType, dtypes.split())), indices=indices or {})


def _each(names: str, kernel: Kernel) -> dict[str, Kernel]:
    return dict.fromkeys(names.split(), kernel)


_PLACES = (DType.INT64, DType.INT32)
_MASK = {0: (DType.BOOL,)}

KERNELS: Mapping[str, Kernel] = {
    **_each(
        "ACOS ACOSH ASIN ASINH ATAN ATANH AVERAGE_POOL BATCH_NORM CONV CONV_TRANSPOSE COSH ELU ERF GELU HARD_SIGMOID GRU HARD_SWISH "
        "INSTANCE_NORM LAYER_NORM LEAKY_RELU LSTM PRELU RESIZE RNN SINH SOFTPLUS SOFTSIGN TAN",
        _kernel(_SINGLE),
    ),
    **_each(
        "CEIL COS EXP FLOOR GRID_SAMPLE LOG LOGISTIC LOG_SOFTMAX MAX_POOL ROUND RSQRT SIN SOFTMAX SQRT TANH",
        _kernel(_FLOATS),
    ),
    **_each("FLOOR_DIV MEAN", _kernel(_FLOATS)),
    **_each("CUMSUM POW SUM", _kernel(_WIDE)),
    # ONNX Runtime multiplies integers in double precision: what can be large is expanded.
    "REDUCE_PROD": _kernel(_FLOATS),
    **_each(
        "ABS ADD DIV GREATER GREATER_EQUAL LESS LESS_EQUAL MUL SIGN SQUARE SQUARED_DIFFERENCE SUB",
        _kernel(_NUMBERS),
    ),
    **_each("EQUAL NOT_EQUAL", _kernel(f"{_NUMBERS} bool")),
    **_each("ARG_MAX ARG_MIN", _kernel(f"{_FLOATS} int8 uint8 int32 int64")),
    **_each("BATCH_MATMUL FULLY_CONNECTED", _kernel(f"{_WIDE} uint32 uint64")),
    **_each("BITWISE_AND BITWISE_OR BITWISE_XOR", _kernel(_INTEGERS)),
    **_each("BROADCAST_TO FILL TILE", _kernel(_REPEATED)),
    **_each("CAST CONCATENATION IF PACK RESHAPE", _kernel(_ANY)),
    **_each("REVERSE_V2 SIZE_VALUE SPLIT_V STRIDED_SLICE TRANSPOSE WHILE", _kernel(_ANY)),
    "RANGE": _kernel(_ANY),
    # A remainder of floating-point numbers needs a choice between two, as do shifts of signed numbers.
    "FLOOR_MOD": _kernel(_NUMBERS),
    "LEFT_SHIFT": _kernel("int8 int32 int64 uint8 uint16 uint32 uint64"),
    "RIGHT_SHIFT": _kernel("int8 int32 int64 uint8 uint16 uint32 uint64"),
    "DEQUANTIZE": _kernel("int8 uint8 int16"),
    "QUANTIZE": _kernel("float32"),
    "DYNAMIC_UPDATE_SLICE": _kernel(_ANY, {2: _PLACES}),
    "GATHER": _kernel(_ANY, {1: _PLACES}),
    "GATHER_ELEMENTS": _kernel(_ANY, {1: _PLACES}),
    "GATHER_ND": _kernel(_ANY, {1: _PLACES}),
    **_each("LOGICAL_AND LOGICAL_NOT LOGICAL_OR REDUCE_ALL REDUCE_ANY", _kernel("bool")),
    **_each("MAXIMUM MINIMUM", _kernel(f"{_WIDE} int8 uint8 uint32 uint64")),
    "NEG": _kernel(f"{_FLOATS} int8 int16 int32 int64"),
    "ONE_HOT": _kernel(f"{_WIDE} int8 uint8 uint32", {0: _PLACES}),
    **_each("MIRROR_PAD PAD PADV2", _kernel(f"{_WIDE} bool int8 uint8 uint32 uint64")),
    **_each("REDUCE_MAX REDUCE_MIN", _kernel(f"{_WIDE} bool int8 uint8")),
    **_each("RELU", _kernel(f"{_FLOATS} int8 int32")),
    **_each("RELU6 RELU_0_TO_1 RELU_N1_TO_1", _kernel(f"{_WIDE} int8")),
    # Where several elements meet, ONNX Runtime adds and compares these alone.
    "SCATTER_ND": _kernel("float32 float64 int32 int64", {0: _PLACES}),
    "SELECT_V2": _kernel(f"{_WIDE} int8 uint8 uint32", _MASK),
    "TOPK_V2": _kernel(f"{_WIDE} int8 int16 uint8"),
    **_each(
        "UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD",
        _kernel("float32 float64 int32 int64", {1: _PLACES}),
    ),
}

ONNX = KernelSet(title="ONNX", kernels=KERNELS, expansions=EXPANSIONS)
