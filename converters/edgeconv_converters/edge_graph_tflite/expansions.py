"""What replaces operators that TFLite has no kernel for, or whose kernel lacks a dtype, a rank or broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeconv.dims import product
from edgeconv.graph import Builder, Node, Tensor
from edgeconv.graph.ops.spec import broadcast_shapes
from edgeconv.passes.error_functions import expand_erf, expand_erfc
from edgeconv.passes.legalize import Expansion
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.integers import INTEGER_EXPANSIONS, always, is_int64

__all__ = ["EXPANSIONS"]


def _is_integer(node: Node) -> bool:
    return node.input(0).dtype.is_integer


def _above_rank(rank: int) -> Callable[[Node], bool]:
    return lambda node: max(t.rank for t in (*node.inputs, *node.outputs) if t is not None) > rank


def _absolute(b: Builder, node: Node) -> Tensor:
    x = node.input(0)
    return b.op("MAXIMUM", x, b.op("NEG", x))


def _sign(b: Builder, node: Node) -> Tensor:
    x = node.input(0)
    zero = b.scalar(0, x.dtype)
    parts = [b.op(op, x, zero) for op in ("GREATER", "LESS")]
    above, below = (b.op("CAST", part, dtype=x.dtype.value) for part in parts)
    return b.op("SUB", above, below)


def _square(b: Builder, node: Node) -> Tensor:
    return b.op("MUL", node.input(0), node.input(0))


def _broadcast(b: Builder, node: Node) -> Tensor:
    """The same operator on inputs of one shape."""
    inputs = [node.input(i) for i in range(len(node.inputs))]
    shape = broadcast_shapes(*(t.shape for t in inputs))
    return b.op(node.op, *(b.broadcast(t, shape) for t in inputs), **node.attributes)


def _needs_broadcast(node: Node) -> bool:
    return len({node.input(i).shape for i in range(len(node.inputs))}) > 1


def _is_float_to_unsigned(node: Node) -> bool:
    target = DType(node.text("dtype"))
    return node.input(0).dtype.is_floating and target.is_unsigned


def _cast_by_integer(b: Builder, node: Node) -> Tensor:
    """PyTorch wraps negative numbers around, TFLite's cast from float saturates, its cast from integers wraps."""
    whole = b.op("CAST", node.input(0), dtype="int64")
    return b.op("CAST", whole, dtype=node.text("dtype"))


def _multiply_integers(b: Builder, node: Node) -> Tensor:
    """A matrix product of integers as products and sums, which stay exact."""
    x, y = node.input(0), node.input(1)
    x = _swap_last(b, x) if node.flag("adj_x") else x
    y = y if node.flag("adj_y") else _swap_last(b, y)
    rows = b.op("RESHAPE", x, shape=(*x.shape[:-1], 1, x.shape[-1]))
    columns = b.op("RESHAPE", y, shape=(*y.shape[:-2], 1, *y.shape[-2:]))
    terms = b.op("MUL", rows, columns)
    return b.op("SUM", terms, axes=(terms.rank - 1,))


def _swap_last(b: Builder, x: Tensor) -> Tensor:
    return b.op("TRANSPOSE", x, perm=(*range(x.rank - 2), x.rank - 1, x.rank - 2))


def _connect_integers(b: Builder, node: Node) -> Tensor:
    product_ = b.op("BATCH_MATMUL", _as_rows(b, node.input(0)), node.input(1), adj_y=True)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    total = product_ if bias is None else b.op("ADD", product_, bias)
    return b.op("RESHAPE", total, shape=node.output.shape)


# Axes that an operator does not tell apart are merged where a kernel takes fewer.


def _as_rows(b: Builder, x: Tensor) -> Tensor:
    return b.op("RESHAPE", x, shape=(product(x.shape[:-1]), x.shape[-1]))


def _on_rows(b: Builder, node: Node) -> Tensor:
    """An operator that works on the last axis, with all others merged."""
    result = b.op(node.op, _as_rows(b, node.input(0)), *node.inputs[1:], **node.attributes)
    return b.op("RESHAPE", result, shape=node.output.shape)


def _reduce_merged(b: Builder, node: Node) -> Tensor:
    """A reduction of the last of two axes: those that stay and those that go."""
    x, axes = node.input(0), [axis % node.input(0).rank for axis in node.integers("axes")]
    kept = [axis for axis in range(x.rank) if axis not in axes]
    ordered = b.op("TRANSPOSE", x, perm=(*kept, *sorted(axes)))
    shape = (product(x.shape[a] for a in kept), product(x.shape[a] for a in axes))
    result = b.op(node.op, b.op("RESHAPE", ordered, shape=shape), axes=(1,))
    return b.op("RESHAPE", result, shape=node.output.shape)


def _concatenate_merged(b: Builder, node: Node) -> Tensor:
    inputs = [node.input(i) for i in range(len(node.inputs))]
    axis = node.integer("axis") % inputs[0].rank
    flat = [
        b.op("RESHAPE", t, shape=(product(t.shape[:axis]), product(t.shape[axis:]))) for t in inputs
    ]
    joined = b.node("CONCATENATION", flat, axis=1).output
    return b.op("RESHAPE", joined, shape=node.output.shape)


def _pad_one_by_one(b: Builder, node: Node) -> Tensor:
    """One axis at a time, those before it and after it merged."""
    x = node.input(0)
    sides = zip(node.sizes("before"), node.sizes("after"), strict=True)
    for axis, (before, after) in enumerate(sides):
        if (before, after) == (0, 0):
            continue
        shape = (*x.shape[:axis], x.shape[axis] + before + after, *x.shape[axis + 1 :])
        parts = (product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :]))
        flat = b.op("RESHAPE", x, shape=parts)
        padded = b.op(node.op, flat, *node.inputs[1:], before=(0, before, 0), after=(0, after, 0))
        x = b.op("RESHAPE", padded, shape=shape)
    return x


def _multiply_merged(b: Builder, node: Node) -> Tensor:
    """A matrix product with one batch axis."""
    x, y = node.input(0), node.input(1)
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    flat = [
        b.op(
            "RESHAPE",
            b.broadcast(t, (*batch, *t.shape[-2:])),
            shape=(product(batch), *t.shape[-2:]),
        )
        for t in (x, y)
    ]
    result = b.op("BATCH_MATMUL", *flat, **node.attributes)
    return b.op("RESHAPE", result, shape=node.output.shape)


def _when(applies: Callable[[Node], bool], build: Callable[[Builder, Node], Tensor]) -> Expansion:
    return Expansion(applies=applies, build=build)


EXPANSIONS: Mapping[str, tuple[Expansion, ...]] = {
    **INTEGER_EXPANSIONS,
    "ABS": (_when(is_int64, _absolute),),
    "ATAN2": (_when(_needs_broadcast, _broadcast),),
    "BATCH_MATMUL": (
        _when(_is_integer, _multiply_integers),
        _when(_above_rank(5), _multiply_merged),
    ),
    "CAST": (_when(_is_float_to_unsigned, _cast_by_integer),),
    "CONCATENATION": (_when(_above_rank(6), _concatenate_merged),),
    "ERF": (_when(always, expand_erf),),
    "ERFC": (_when(always, expand_erfc),),
    "FULLY_CONNECTED": (
        _when(_is_integer, _connect_integers),
        _when(_above_rank(6), _on_rows),
    ),
    "LOG_SOFTMAX": (_when(_above_rank(6), _on_rows),),
    "PAD": (_when(_above_rank(5), _pad_one_by_one),),
    "PADV2": (_when(_above_rank(5), _pad_one_by_one),),
    "SIGN": (_when(is_int64, _sign),),
    "SOFTMAX": (_when(_above_rank(6), _on_rows),),
    "SQUARE": (_when(_is_integer, _square),),
    **dict.fromkeys(
        ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN"), (_when(_above_rank(6), _reduce_merged),)
    ),
}
