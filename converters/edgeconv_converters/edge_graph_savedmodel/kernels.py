"""What TensorFlow's CPU kernels take: nearly everything; the exceptions are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeconv.passes.legalize import Kernel, KernelSet
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_savedmodel import activation, elementwise, reduction
from edgeconv_converters.edge_graph_savedmodel.table import TRANSLATIONS

__all__ = ["SAVEDMODEL"]

_ALL = frozenset(dtype for dtype in DType if not dtype.is_complex)
_FLOATS = frozenset(dtype for dtype in _ALL if dtype.is_floating)
_SIGNED = _FLOATS | {DType.INT8, DType.INT16, DType.INT32, DType.INT64}
_PRODUCTS = _FLOATS | {DType.INT32, DType.INT64}

_SMALL = {DType.INT8, DType.UINT8, DType.INT16, DType.UINT16}
_NUMBERS = _ALL - {DType.BOOL}

_OF_NUMBERS = (
    "ADD SUB DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM LESS LESS_EQUAL GREATER GREATER_EQUAL CUMSUM SUM MEAN REDUCE_MAX "
    "REDUCE_MIN REDUCE_PROD TOPK_V2 UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD"
)

_OF_IMAGES = "CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV CONV_3D CONV_3D_TRANSPOSE AVERAGE_POOL_2D"

_EXCEPTIONS: Mapping[str, Kernel] = {
    **dict.fromkeys(("ABS", "NEG", "POW", "SIGN"), Kernel(dtypes=_SIGNED)),
    **dict.fromkeys(("BATCH_MATMUL", "FULLY_CONNECTED"), Kernel(dtypes=_PRODUCTS)),
    **dict.fromkeys(_OF_NUMBERS.split(), Kernel(dtypes=_NUMBERS)),
    # TensorFlow's optimizer turns (x - y) (x - y) into an operator that has no kernel for small integers.
    "MUL": Kernel(dtypes=_NUMBERS - _SMALL),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN"), Kernel(dtypes=_ALL, max_rank=7)),
    **dict.fromkeys(("PAD", "PADV2"), Kernel(dtypes=_ALL, max_rank=6)),
    **dict.fromkeys(_OF_IMAGES.split(), Kernel(dtypes=_FLOATS)),
    "MIRROR_PAD": Kernel(dtypes=_ALL, max_rank=5),
    "SELECT_V2": Kernel(dtypes=_ALL, indices={0: (DType.BOOL,)}),
    "TILE": Kernel(dtypes=_ALL - {DType.UINT16}),
}

# TensorFlow computes half precision in half precision, where sums and squares soon are infinite; PyTorch computes it in single
# precision and rounds what comes out. Operators with weights take it as it is, so that weights stay half as large: see
# `precision.py`.
_HALVES = {DType.FLOAT16, DType.BFLOAT16}
_COMPUTED = (
    {*activation.TRANSLATIONS, *elementwise.TRANSLATIONS, *reduction.TRANSLATIONS}
    - {"BITCAST", "CAST", "SELECT_V2"}
)  # fmt: skip


def _kernel(name: str) -> Kernel:
    kernel = _EXCEPTIONS.get(name, Kernel(dtypes=_ALL))
    return replace(kernel, dtypes=kernel.dtypes - _HALVES) if name in _COMPUTED else kernel


SAVEDMODEL = KernelSet(title="SavedModel", kernels={name: _kernel(name) for name in TRANSLATIONS})
