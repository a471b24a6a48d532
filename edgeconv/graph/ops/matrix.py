"""Matrix products."""

from __future__ import annotations

from edgeconv.graph.model import Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, broadcast_shapes, expect

__all__ = ["OPS"]


def _infer_fully_connected(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    expect(weight.rank == 2, node, "the weight is no matrix")
    expect(x.shape[-1] == weight.shape[1], node, "the weight does not fit the input")
    return [(x.dtype, (*x.shape[:-1], weight.shape[0]))]


def _infer_batch_matmul(node: Node) -> list[TensorType]:
    x, y = node.input(0), node.input(1)
    expect(x.rank >= 2 and y.rank >= 2, node, "both inputs must have rank 2 or more")
    expect(x.dtype == y.dtype, node, "the inputs have different dtypes")
    rows, inner = x.shape[-2:] if not node.flag("adj_x") else x.shape[:-3:-1]
    other, columns = y.shape[-2:] if not node.flag("adj_y") else y.shape[:-3:-1]
    fits = inner == other or not (isinstance(inner, int) and isinstance(other, int))
    expect(fits, node, "the inner sizes differ")
    return [(x.dtype, (*broadcast_shapes(x.shape[:-2], y.shape[:-2]), rows, columns))]


OPS = (
    # x[..., k], weight[n, k], optional bias[n]; the leading axes are kept.
    OpSpec(
        name="FULLY_CONNECTED",
        arity=(2, 3),
        infer=_infer_fully_connected,
        attributes={"fused_activation_function": "NONE"},
    ),
    OpSpec(
        name="BATCH_MATMUL",
        arity=(2, 2),
        infer=_infer_batch_matmul,
        attributes={"adj_x": False, "adj_y": False},
    ),
)
