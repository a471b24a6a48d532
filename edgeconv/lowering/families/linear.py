"""Matrix products."""

from __future__ import annotations

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.graph.ops.spec import Shape, broadcast_shapes
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower


@lower("aten.linear")
def linear(b: LoweringBuilder, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return connect(b, x, weight, bias)


def connect(b: LoweringBuilder, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x[..., k] times the transpose of weight[n, k], plus bias[n]."""
    if not weight.is_constant or (bias is not None and not bias.is_constant):
        result = multiply(b, x, b.transpose(weight, (1, 0)))
        return result if bias is None else b.op("ADD", result, bias)
    return fully_connected(b, x, weight, bias)


def fully_connected(
    b: LoweringBuilder, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """x[..., k] times the transpose of a constant weight[n, k], plus bias[n]."""
    if x.rank == 1:
        row = b.op("FULLY_CONNECTED", b.reshape(x, (1, *x.shape)), weight, bias)
        return b.reshape(row, row.shape[1:])
    return b.op("FULLY_CONNECTED", x, weight, bias)


@lower("aten.mm", "aten.bmm", "aten.matmul", "aten.mv", "aten.dot")
def matmul(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    return multiply(b, x, y)


def multiply(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """The matrix product by `torch.matmul`'s rules for any ranks."""
    if x.rank == 0 or y.rank == 0:
        raise CannotLowerError("matmul of a scalar")
    left = b.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    right = b.reshape(y, (*y.shape, 1)) if y.rank == 1 else y
    if left.shape[-1] == 0:  # a sum of nothing
        return b.op("FILL", b.scalar(0, x.dtype), shape=_product_shape(x, y))
    if right.is_constant and right.rank == 2:
        result = b.op("FULLY_CONNECTED", left, b.transpose(right, (1, 0)), None)
    else:
        result = _batch_multiply(b, left, right)
    return b.reshape(result, _product_shape(x, y))


def _product_shape(x: Tensor, y: Tensor) -> Shape:
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return (*batch, *x.shape[-2:-1], *y.shape[-1:] * (y.rank > 1))


def _batch_multiply(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    rank = max(x.rank, y.rank)
    x = b.reshape(x, (*([1] * (rank - x.rank)), *x.shape))
    y = b.reshape(y, (*([1] * (rank - y.rank)), *y.shape))
    return b.op("BATCH_MATMUL", x, y)


@lower("aten.addmm")
def addmm(
    b: LoweringBuilder, bias: Tensor, x: Tensor, y: Tensor, beta: float = 1, alpha: float = 1
) -> Tensor:
    is_layer = y.is_constant and bias.is_constant and bias.shape == (y.shape[1],)
    if is_layer and (beta, alpha) == (1, 1):
        return fully_connected(b, x, b.transpose(y, (1, 0)), bias)
    return _add_scaled(b, bias, multiply(b, x, y), beta, alpha)


@lower("aten.baddbmm")
def baddbmm(
    b: LoweringBuilder, bias: Tensor, x: Tensor, y: Tensor, beta: float = 1, alpha: float = 1
) -> Tensor:
    return _add_scaled(b, bias, multiply(b, x, y), beta, alpha)


@lower("aten.addbmm")
def addbmm(
    b: LoweringBuilder, bias: Tensor, x: Tensor, y: Tensor, beta: float = 1, alpha: float = 1
) -> Tensor:
    """The products of a batch, added up."""
    total = b.reduce("SUM", multiply(b, x, y), [0], keep_dims=False)
    return _add_scaled(b, bias, total, beta, alpha)


def _add_scaled(
    b: LoweringBuilder, bias: Tensor, result: Tensor, beta: float, alpha: float
) -> Tensor:
    if alpha != 1:
        result = b.op("MUL", result, b.scalar(alpha, result.dtype))
    if beta == 0:
        return b.broadcast(result, b.shape)
    if beta != 1:
        bias = b.op("MUL", bias, b.scalar(beta, bias.dtype))
    return b.op("ADD", result, bias)


@lower("aten.bilinear")
def bilinear(
    b: LoweringBuilder, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """sum_ij x[..., i] weight[o, i, j] y[..., j]: a linear layer on all products of two elements."""
    columns = b.reshape(x, (*x.shape, 1))
    rows = b.reshape(y, (*y.shape[:-1], 1, y.shape[-1]))
    pairs = b.reshape(b.op("MUL", columns, rows), (*x.shape[:-1], x.shape[-1] * y.shape[-1]))
    flat = b.reshape(weight, (weight.shape[0], product(weight.shape[1:])))
    return connect(b, pairs, flat, bias)
