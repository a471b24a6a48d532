"""Operators that read or write elements at indices."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect, normalize_axis

__all__ = ["OPS"]


def _infer_gather(node: Node) -> list[TensorType]:
    x, indices = node.input(0), node.input(1)
    axis = normalize_axis(node.integer("axis"), x.rank)
    batch = node.integer("batch_dims")
    expect(indices.dtype.is_integer, node, "the indices are no integers")
    expect(batch <= min(axis, indices.rank), node, "batch_dims is too large")
    return [(x.dtype, x.shape[:axis] + indices.shape[batch:] + x.shape[axis + 1 :])]


def _infer_gather_nd(node: Node) -> list[TensorType]:
    x, indices = node.input(0), node.input(1)
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        expect(False, node, "the depth of the indices is dynamic")  # noqa: FBT003
        return []
    return [(x.dtype, indices.shape[:-1] + x.shape[depth:])]


def _infer_scatter_nd(node: Node) -> list[TensorType]:
    return [(node.input(1).dtype, node.sizes("shape"))]


def _infer_segments(node: Node) -> list[TensorType]:
    x, segments = node.input(0), node.input(1)
    expect(x.rank > 0 and segments.rank == 1, node, "the segments are no list")
    return [(x.dtype, (*node.sizes("count"), *x.shape[1:]))]


def _infer_one_hot(node: Node) -> list[TensorType]:
    indices, on, off = node.input(0), node.input(1), node.input(2)
    expect(on.dtype == off.dtype, node, "on and off have different dtypes")
    return [(on.dtype, (*indices.shape, *node.sizes("depth")))]


OPS = (
    OpSpec(
        name="GATHER",
        arity=(2, 2),
        infer=_infer_gather,
        attributes={"axis": 0, "batch_dims": 0},
    ),
    OpSpec(name="GATHER_ND", arity=(2, 2), infer=_infer_gather_nd),
    # indices, updates; duplicates add up.
    OpSpec(name="SCATTER_ND", arity=(2, 2), infer=_infer_scatter_nd, required=("shape",)),
    # data, segment of each of its rows; `count` is a list of one size. A segment without rows is the lowest number, the
    # highest number, or 1.
    *(
        OpSpec(
            name=f"UNSORTED_SEGMENT_{name}",
            arity=(2, 2),
            infer=_infer_segments,
            required=("count",),
        )
        for name in ("MAX", "MIN", "PROD")
    ),
    # indices, on value, off value (scalars); the new axis is the last; `depth` is a list of one size.
    OpSpec(name="ONE_HOT", arity=(3, 3), infer=_infer_one_hot, required=("depth",)),
)
