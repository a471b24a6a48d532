"""Operators that move, repeat, cut and join data without computing with it."""

from __future__ import annotations

from itertools import pairwise

from edgeconv.dims import Size, is_static, product
from edgeconv.graph.model import GraphError, Node
from edgeconv.graph.ops.spec import (
    OpSpec,
    TensorType,
    broadcast_shapes,
    expect,
    normalize_axis,
    same_as,
)
from edgeconv.signature import DType

__all__ = ["OPS"]


def _infer_reshape(node: Node) -> list[TensorType]:
    x, shape = node.input(0), node.sizes("shape")
    before, after = product(x.shape), product(shape)
    fits = before == after or not is_static((before, after))
    expect(fits, node, f"{before} elements do not fit in {after}")
    return [(x.dtype, shape)]


def _infer_transpose(node: Node) -> list[TensorType]:
    x, perm = node.input(0), node.integers("perm")
    expect(sorted(perm) == list(range(x.rank)), node, "perm is no permutation of the axes")
    return [(x.dtype, tuple(x.shape[axis] for axis in perm))]


def _infer_broadcast(node: Node) -> list[TensorType]:
    x, shape = node.input(0), node.sizes("shape")
    expect(
        broadcast_shapes(x.shape, shape) == shape or not is_static(shape), node, "cannot broadcast"
    )
    return [(x.dtype, shape)]


def _infer_tile(node: Node) -> list[TensorType]:
    x, multiples = node.input(0), node.sizes("multiples")
    expect(len(multiples) == x.rank, node, "one multiple for each axis")
    return [(x.dtype, tuple(s * m for s, m in zip(x.shape, multiples, strict=True)))]


def _infer_pad(node: Node) -> list[TensorType]:
    x, before, after = node.input(0), node.sizes("before"), node.sizes("after")
    expect(len(before) == len(after) == x.rank, node, "one padding for each axis")
    return [(x.dtype, tuple(b + s + a for b, s, a in zip(before, x.shape, after, strict=True)))]


def _infer_strided_slice(node: Node) -> list[TensorType]:
    x = node.input(0)
    begin, end, strides = node.sizes("begin"), node.sizes("end"), node.integers("strides")
    expect(len(begin) == len(end) == len(strides) == x.rank, node, "one range for each axis")
    expect(all(stride > 0 for stride in strides), node, "strides must be positive")
    return [(x.dtype, tuple(-((b - e) // s) for b, e, s in zip(begin, end, strides, strict=True)))]


def _infer_concatenation(node: Node) -> list[TensorType]:
    tensors = [node.input(i) for i in range(len(node.inputs))]
    first = tensors[0]
    axis = normalize_axis(node.integer("axis"), first.rank)
    expect(all(t.dtype == first.dtype for t in tensors), node, "the inputs have different dtypes")
    expect(all(t.rank == first.rank for t in tensors), node, "the inputs have different ranks")
    total: Size = 0
    for tensor in tensors:
        total = tensor.shape[axis] + total
    return [(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))]


def _infer_pack(node: Node) -> list[TensorType]:
    first = node.input(0)
    axis = normalize_axis(node.integer("axis"), first.rank + 1)
    same = all(
        t is not None and (t.dtype, t.rank) == (first.dtype, first.rank) for t in node.inputs
    )
    expect(same, node, "the inputs have different dtypes or ranks")
    return [(first.dtype, (*first.shape[:axis], len(node.inputs), *first.shape[axis:]))]


def _infer_split(node: Node) -> list[TensorType]:
    x, sizes = node.input(0), node.sizes("sizes")
    axis = normalize_axis(node.integer("axis"), x.rank)
    total: Size = 0
    for size in sizes:
        total = size + total
    expect(total == x.shape[axis], node, "the parts do not add up to the axis")
    return [(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :])) for size in sizes]


def _infer_fill(node: Node) -> list[TensorType]:
    expect(node.input(0).rank == 0, node, "the value is not a scalar")
    return [(node.input(0).dtype, node.sizes("shape"))]


def _infer_range(node: Node) -> list[TensorType]:
    (start,), (limit,), (delta,) = (node.sizes(name) for name in ("start", "limit", "delta"))
    if delta == 0:
        raise GraphError("'RANGE' with step 0")
    return [(DType(node.text("dtype")), (-((start - limit) // delta),))]


def _infer_size_value(node: Node) -> list[TensorType]:
    return [(DType(node.text("dtype")), ())]


def _infer_depth_to_space(node: Node) -> list[TensorType]:
    n, h, w, c = node.input(0).shape
    block = node.integer("block_size")
    return [(node.input(0).dtype, (n, h * block, w * block, c // (block * block)))]


def _infer_space_to_depth(node: Node) -> list[TensorType]:
    n, h, w, c = node.input(0).shape
    block = node.integer("block_size")
    return [(node.input(0).dtype, (n, h // block, w // block, c * (block * block)))]


def _infer_update_slice(node: Node) -> list[TensorType]:
    x, update, start = node.input(0), node.input(1), node.input(2)
    expect(x.dtype == update.dtype and x.rank == update.rank, node, "the update does not fit")
    expect(start.shape == (x.rank,), node, "one start index for each axis")
    return [(x.dtype, x.shape)]


def ranges_are_ordered(bounds: tuple[Size, ...]) -> bool:
    """Whether static bounds never decrease; dynamic ones are taken to be in order."""
    static = [bound for bound in bounds if isinstance(bound, int)]
    return all(a <= b for a, b in pairwise(static))


OPS = (
    OpSpec(name="RESHAPE", arity=(1, 1), infer=_infer_reshape, required=("shape",)),
    OpSpec(name="TRANSPOSE", arity=(1, 1), infer=_infer_transpose, required=("perm",)),
    OpSpec(name="BROADCAST_TO", arity=(1, 1), infer=_infer_broadcast, required=("shape",)),
    OpSpec(name="TILE", arity=(1, 1), infer=_infer_tile, required=("multiples",)),
    # Zeros, or the scalar second input.
    OpSpec(name="PAD", arity=(1, 1), infer=_infer_pad, required=("before", "after")),
    OpSpec(name="PADV2", arity=(2, 2), infer=_infer_pad, required=("before", "after")),
    OpSpec(name="MIRROR_PAD", arity=(1, 1), infer=_infer_pad, required=("before", "after", "mode")),
    # Bounds count from the front and are within the axis; no masks; strides are positive.
    OpSpec(
        name="STRIDED_SLICE",
        arity=(1, 1),
        infer=_infer_strided_slice,
        required=("begin", "end", "strides"),
    ),
    OpSpec(name="REVERSE_V2", arity=(1, 1), infer=same_as(0), required=("axes",)),
    OpSpec(name="CONCATENATION", arity=(1, None), infer=_infer_concatenation, required=("axis",)),
    OpSpec(name="PACK", arity=(1, None), infer=_infer_pack, required=("axis",)),
    OpSpec(name="SPLIT_V", arity=(1, 1), infer=_infer_split, required=("axis", "sizes")),
    OpSpec(name="FILL", arity=(1, 1), infer=_infer_fill, required=("shape",)),
    # start, limit and delta are lists of one size.
    OpSpec(
        name="RANGE",
        arity=(0, 0),
        infer=_infer_range,
        required=("start", "limit", "delta", "dtype"),
    ),
    # A scalar that holds a size, `value` being a list of one; legalized to shape arithmetic.
    OpSpec(
        name="SIZE_VALUE",
        arity=(0, 0),
        infer=_infer_size_value,
        required=("value", "dtype"),
        is_composite=True,
    ),
    OpSpec(
        name="DEPTH_TO_SPACE", arity=(1, 1), infer=_infer_depth_to_space, required=("block_size",)
    ),
    OpSpec(
        name="SPACE_TO_DEPTH", arity=(1, 1), infer=_infer_space_to_depth, required=("block_size",)
    ),
    # data, update, int32 start index of each axis.
    OpSpec(name="DYNAMIC_UPDATE_SLICE", arity=(3, 3), infer=_infer_update_slice),
)
