"""Operators that move, repeat, cut and join data without computing with it."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.dims import Size
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.call import Call, Translation

__all__ = ["TRANSLATIONS"]

# The dtypes that ONNX Runtime counts in.
_COUNTED = (DType.INT16, DType.INT32, DType.INT64, DType.FLOAT32, DType.FLOAT64)
_BEFORE_THE_FIRST = -(2**63)


def _reshape(call: Call) -> str:
    sizes = call.node.sizes("shape")
    # A zero in the shape would mean the input's own size.
    return call.op("Reshape", call.input(0), call.shape(sizes), allowzero=int(0 in sizes))


def _transpose(call: Call) -> str:
    return call.op("Transpose", call.input(0), perm=list(call.node.integers("perm")))


def _broadcast_to(call: Call) -> str:
    return call.op("Expand", call.input(0), call.vector("shape"))


def _tile(call: Call) -> str:
    return call.op("Tile", call.input(0), call.vector("multiples"))


def _pad(mode: str) -> Translation:
    def emit(call: Call) -> str:
        sides = (*call.node.sizes("before"), *call.node.sizes("after"))
        value = call.optional(1)
        return call.op("Pad", call.input(0), call.sizes.vector(sides), *value, mode=mode)

    return emit


def _strided_slice(call: Call) -> str:
    node, x = call.node, call.node.input(0)
    ranges = list(
        zip(node.sizes("begin"), node.sizes("end"), node.integers("strides"), strict=True)
    )
    cut = [axis for axis, r in enumerate(ranges) if r != (0, x.shape[axis], 1)]
    if not cut:
        return call.input(0)
    begin: tuple[Size, ...] = tuple(ranges[axis][0] for axis in cut)
    end: tuple[Size, ...] = tuple(ranges[axis][1] for axis in cut)
    steps = call.emitter.integers([ranges[axis][2] for axis in cut])
    bounds = (call.sizes.vector(begin), call.sizes.vector(end))
    return call.op("Slice", call.input(0), *bounds, call.emitter.integers(cut), steps)


def _reverse(call: Call) -> str:
    axes = call.node.integers("axes")
    lists = ([-1] * len(axes), [_BEFORE_THE_FIRST] * len(axes), axes, [-1] * len(axes))
    return call.op("Slice", call.input(0), *(call.emitter.integers(values) for values in lists))


def _concatenation(call: Call) -> str:
    inputs = [call.input(i) for i in range(len(call.inputs))]
    return call.op("Concat", *inputs, axis=call.node.integer("axis"))


def _pack(call: Call) -> str:
    axis = call.node.integer("axis") % call.node.output.rank
    place = call.emitter.integers([axis])
    parts = [call.op("Unsqueeze", call.input(i), place) for i in range(len(call.inputs))]
    return call.op("Concat", *parts, axis=axis)


def _split(call: Call) -> list[str]:
    count, axis = len(call.node.outputs), call.node.integer("axis")
    return call.emitter.ops("Split", count, call.input(0), call.vector("sizes"), axis=axis)


def _fill(call: Call) -> str:
    return call.op("Expand", call.input(0), call.vector("shape"))


def _range(call: Call) -> str:
    dtype = DType(call.node.text("dtype"))
    bounds = [call.scalar(name) for name in ("start", "limit", "delta")]
    if dtype in _COUNTED and dtype != DType.INT64:
        bounds = [call.emitter.cast(bound, dtype) for bound in bounds]
    counted = call.op("Range", *bounds)
    return counted if dtype in _COUNTED else call.emitter.cast(counted, dtype)


def _size_value(call: Call) -> str:
    size, dtype = call.scalar("value"), DType(call.node.text("dtype"))
    return size if dtype == DType.INT64 else call.emitter.cast(size, dtype)


TRANSLATIONS: Mapping[str, Translation] = {
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "FILL": _fill,
    "MIRROR_PAD": _pad("reflect"),
    "PACK": _pack,
    "PAD": _pad("constant"),
    "PADV2": _pad("constant"),
    "RANGE": _range,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SIZE_VALUE": _size_value,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
}
