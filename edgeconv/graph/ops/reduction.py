"""Operators that fold axes away, or run along one."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect, normalize_axis, same_as
from edgeconv.signature import DType

__all__ = ["OPS"]

_REDUCTIONS = ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
_LOGICAL = ("REDUCE_ANY", "REDUCE_ALL")


def _infer_reduction(node: Node) -> list[TensorType]:
    x = node.input(0)
    axes = {normalize_axis(axis, x.rank) for axis in node.integers("axes")}
    if node.flag("keep_dims"):
        return [(x.dtype, tuple(1 if i in axes else s for i, s in enumerate(x.shape)))]
    return [(x.dtype, tuple(s for i, s in enumerate(x.shape) if i not in axes))]


def _infer_logical(node: Node) -> list[TensorType]:
    expect(node.input(0).dtype == DType.BOOL, node, "the input is not bool")
    return _infer_reduction(node)


def _infer_arg(node: Node) -> list[TensorType]:
    x = node.input(0)
    axis = normalize_axis(node.integer("axis"), x.rank)
    return [(DType(node.text("output_type")), x.shape[:axis] + x.shape[axis + 1 :])]


def _infer_top_k(node: Node) -> list[TensorType]:
    x = node.input(0)
    (k,) = node.sizes("k")
    shape = (*x.shape[:-1], k)
    return [(x.dtype, shape), (DType.INT32, shape)]


OPS = (
    *(
        OpSpec(
            name=name,
            arity=(1, 1),
            infer=_infer_reduction,
            required=("axes",),
            attributes={"keep_dims": False},
        )
        for name in _REDUCTIONS
    ),
    *(
        OpSpec(
            name=name,
            arity=(1, 1),
            infer=_infer_logical,
            required=("axes",),
            attributes={"keep_dims": False},
        )
        for name in _LOGICAL
    ),
    *(
        OpSpec(
            name=name,
            arity=(1, 1),
            infer=_infer_arg,
            required=("axis",),
            attributes={"output_type": "int64"},
        )
        for name in ("ARG_MAX", "ARG_MIN")
    ),
    OpSpec(
        name="CUMSUM",
        arity=(1, 1),
        infer=same_as(0),
        required=("axis",),
        attributes={"exclusive": False, "reverse": False},
    ),
    # Softmax over the last axis, as TFLite has it.
    OpSpec(name="SOFTMAX", arity=(1, 1), infer=same_as(0), attributes={"beta": 1.0}),
    OpSpec(name="LOG_SOFTMAX", arity=(1, 1), infer=same_as(0)),
    # `k` is a list of one size; values and int32 indices, largest first, over the last axis.
    OpSpec(name="TOPK_V2", arity=(1, 1), infer=_infer_top_k, required=("k",)),
)
