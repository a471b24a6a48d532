"""Operators that fold axes away, or run along one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.call import Call, Translation

__all__ = ["TRANSLATIONS"]

_HALF_RANGE = 1 << 32


def _reduction(op_type: str) -> Translation:
    def emit(call: Call) -> str:
        axes = call.emitter.integers(call.node.integers("axes"))
        keep = int(call.node.flag("keep_dims"))
        return call.op(op_type, call.input(0), axes, keepdims=keep)

    return emit


def _sum(call: Call) -> str:
    """Integers are added up by ONNX Runtime in double precision, which is exact below 2^53 and does not wrap around.

    So those of 32 bits are added up in 64, and those of 64 bits in halves: x = 2^32 high + low with 0 <= low < 2^32.
    """
    emitter, add_up = call.emitter, _reduction("ReduceSum")
    if call.dtype == DType.INT32:
        wide = replace(call, inputs=(emitter.cast(call.input(0), DType.INT64),))
        return emitter.cast(str(add_up(wide)), DType.INT32)
    if call.dtype != DType.INT64:
        return str(add_up(call))
    base = emitter.integer(_HALF_RANGE)
    low = call.op("BitwiseAnd", call.input(0), emitter.integer(_HALF_RANGE - 1))
    high = call.op("Div", call.op("Sub", call.input(0), low), base)
    sums = [str(add_up(replace(call, inputs=(half,)))) for half in (high, low)]
    return call.op("Add", call.op("Mul", sums[0], base), sums[1])


def _mean(call: Call) -> str:
    """Over all axes behind the channels it is a pooling, which ONNX Runtime does in the layout of convolutions."""
    x = call.node.input(0)
    axes = sorted(axis % x.rank for axis in call.node.integers("axes"))
    is_pooling = x.rank > 3 and axes == list(range(2, x.rank)) and call.node.flag("keep_dims")
    if is_pooling and x.dtype == DType.FLOAT32:
        return call.op("GlobalAveragePool", call.input(0))
    return str(_reduction("ReduceMean")(call))


def _arg(op_type: str) -> Translation:
    def emit(call: Call) -> str:
        found = call.op(op_type, call.input(0), axis=call.node.integer("axis"), keepdims=0)
        dtype = DType(call.node.text("output_type"))
        return found if dtype == DType.INT64 else call.emitter.cast(found, dtype)

    return emit


def _cumulative_sum(call: Call) -> str:
    return call.op(
        "CumSum",
        call.input(0),
        call.emitter.integer(call.node.integer("axis")),
        exclusive=int(call.node.flag("exclusive")),
        reverse=int(call.node.flag("reverse")),
    )


def _softmax(call: Call) -> str:
    x, beta = call.input(0), call.node.real("beta")
    if beta != 1:
        x = call.op("Mul", x, call.emitter.number(beta, call.dtype))
    return call.op("Softmax", x, axis=-1)


def _log_softmax(call: Call) -> str:
    return call.op("LogSoftmax", call.input(0), axis=-1)


def _top_k(call: Call) -> list[str]:
    values, places = call.emitter.ops("TopK", 2, call.input(0), call.vector("k"), axis=-1)
    return [values, call.emitter.cast(places, DType.INT32)]


TRANSLATIONS: Mapping[str, Translation] = {
    "ARG_MAX": _arg("ArgMax"),
    "ARG_MIN": _arg("ArgMin"),
    "CUMSUM": _cumulative_sum,
    "LOG_SOFTMAX": _log_softmax,
    "MEAN": _mean,
    "REDUCE_ALL": _reduction("ReduceMin"),
    "REDUCE_ANY": _reduction("ReduceMax"),
    "REDUCE_MAX": _reduction("ReduceMax"),
    "REDUCE_MIN": _reduction("ReduceMin"),
    "REDUCE_PROD": _reduction("ReduceProd"),
    "SOFTMAX": _softmax,
    "SUM": _sum,
    "TOPK_V2": _top_k,
}
