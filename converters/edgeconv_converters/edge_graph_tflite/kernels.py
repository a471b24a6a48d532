"""What the kernels of TFLite's runtime take: dtypes and ranks of each operator that is written.

Facts found by running every operator in LiteRT 2.3 with each dtype and rank, with its XNNPACK delegate and without, since
a file must run on devices that have no delegate; `tests/converters/test_tflite_kernels.py` runs them again. 8- and 16-bit
integers are quantized values to most arithmetic kernels, which crash or rescale them when there is no scale.

What is left as it is: XNNPACK's sigmoid of numbers beyond about 1e30 is NaN, its exponential of NaN is 0, and TFLite's sine of
numbers beyond about 1e20 is NaN. A guard would be two more operators at every activation; verification tells whoever is hit.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.passes.legalize import Kernel, KernelSet
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.expansions import EXPANSIONS

__all__ = ["KERNELS", "TFLITE"]

_INTEGER_INDICES = (DType.INT32, DType.INT64)


def _dtypes(names: str) -> frozenset[DType]:
    return frozenset(DType(name) for name in names.split())


def _kernel(
    dtypes: str, max_rank: int = 8, indices: Mapping[int, tuple[DType, ...]] | None = None
) -> Kernel:
    return Kernel(dtypes=_dtypes(dtypes), max_rank=max_rank, indices=indices or {})


def _each(names: str, kernel: Kernel) -> dict[str, Kernel]:
    return dict.fromkeys(names.split(), kernel)


_FLOAT = "float32"
_NUMBERS = "float32 int32 int64"
_MOVED = "float32 float16 bfloat16 int8 uint8 int16 int32 int64 bool"
_ANY = f"{_MOVED} float64 uint16 uint32 uint64"
_CASTABLE = _ANY.replace(" uint64", "")

KERNELS: Mapping[str, Kernel] = {
    # XNNPACK refuses more than six axes, and fails instead of leaving them to the kernel.
    **_each("SUM REDUCE_MAX REDUCE_MIN", _kernel(_NUMBERS, 6)),
    **_each("MEAN SOFTMAX FULLY_CONNECTED", _kernel(_FLOAT, 6)),
    **_each("PAD PADV2", _kernel(_MOVED, 5)),
    **_each(
        "CEIL COS ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC LOG_SOFTMAX PRELU RELU RELU6 RELU_0_TO_1 "
        "RELU_N1_TO_1 ROUND RSQRT SIN SQRT SQUARE TANH ATAN2",
        _kernel(_FLOAT),
    ),
    **_each(
        "CONV_2D CONV_3D CONV_3D_TRANSPOSE DEPTHWISE_CONV_2D TRANSPOSE_CONV AVERAGE_POOL_2D MAX_POOL_2D RESIZE_BILINEAR "
        "RESIZE_NEAREST_NEIGHBOR DEPTH_TO_SPACE SPACE_TO_DEPTH",
        _kernel(_FLOAT),
    ),
    **_each("ADD SUB MUL NEG CUMSUM REDUCE_PROD FLOOR_MOD", _kernel(_NUMBERS)),
    **_each("MAXIMUM MINIMUM TOPK_V2", _kernel(_NUMBERS)),
    **_each("ABS SIGN DIV FLOOR_DIV POW SQUARED_DIFFERENCE", _kernel("float32 int32")),
    **_each("BITWISE_XOR RIGHT_SHIFT", _kernel("int8 uint8 int16 uint16 int32 uint32")),
    **_each("LESS LESS_EQUAL GREATER GREATER_EQUAL", _kernel(_NUMBERS)),
    **_each("EQUAL NOT_EQUAL", _kernel(f"{_NUMBERS} bool")),
    **_each("LOGICAL_AND LOGICAL_OR LOGICAL_NOT REDUCE_ANY REDUCE_ALL", _kernel("bool")),
    **_each("ARG_MAX ARG_MIN", _kernel("float32 int8 uint8 int32 bool")),
    **_each("PACK SPLIT_V", _kernel("float32 int8 uint8 int16 int32 int64")),
    **_each("RESHAPE TRANSPOSE", _kernel(_ANY)),
    **_each("BROADCAST_TO TILE MIRROR_PAD STRIDED_SLICE FILL", _kernel(_ANY)),
    **_each("IF WHILE", _kernel(_ANY)),
    "BATCH_MATMUL": _kernel(_FLOAT, 5),
    "BITCAST": Kernel(dtypes=_dtypes(_ANY)),
    **_each(
        "UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD",
        _kernel("float32 int32", indices={1: (DType.INT32,)}),
    ),
    "CAST": Kernel(dtypes=_dtypes(_CASTABLE), results=_dtypes(_CASTABLE)),
    "CONCATENATION": _kernel(
        "float32 float16 bfloat16 int8 uint8 int16 int32 uint32 int64 bool", 6
    ),
    "DEQUANTIZE": _kernel("int8 uint8 int16"),
    "DYNAMIC_UPDATE_SLICE": _kernel(_ANY, indices={2: _INTEGER_INDICES}),
    "GATHER": _kernel(_MOVED, indices={1: _INTEGER_INDICES}),
    "GATHER_ND": _kernel(_MOVED, indices={1: _INTEGER_INDICES}),
    "ONE_HOT": _kernel("float32 int8 uint8 int32 int64 bool", indices={0: _INTEGER_INDICES}),
    "QUANTIZE": _kernel(_FLOAT),
    "RANGE": _kernel(_NUMBERS),
    "REVERSE_V2": _kernel(_MOVED),
    "SCATTER_ND": _kernel("float32 int8 uint8 int32 int64 bool", indices={0: (DType.INT32,)}),
    "SELECT_V2": _kernel(_ANY, indices={0: (DType.BOOL,)}),
    "SIZE_VALUE": _kernel(_CASTABLE),
}

TFLITE = KernelSet(title="TFLite", kernels=KERNELS, expansions=EXPANSIONS)
