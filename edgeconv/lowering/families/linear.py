"""Matrix products."""

from __future__ import annotations

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower


@lower("aten.linear")
def linear(b: LoweringBuilder, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
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
    if right.is_constant and right.rank == 2:
        result = b.op("FULLY_CONNECTED", left, b.transpose(right, (1, 0)), None)
    else:
        result = _batch_multiply(b, left, right)
    shape = list(result.shape)
    if y.rank == 1:
        shape.pop()
    if x.rank == 1:
        shape.pop(-1 if y.rank == 1 else -2)
    return b.reshape(result, shape)


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


def _add_scaled(
    b: LoweringBuilder, bias: Tensor, result: Tensor, beta: float, alpha: float
) -> Tensor:
    if alpha != 1:
        result = b.op("MUL", result, b.scalar(alpha, result.dtype))
    if beta == 0:
        return result
    if beta != 1:
        bias = b.op("MUL", bias, b.scalar(beta, bias.dtype))
    return b.op("ADD", result, bias)


@lower("aten.einsum")
def einsum(
    b: LoweringBuilder, equation: str, operands: list[Tensor], path: object = None
) -> Tensor:
    """Two or more operands, pair by pair from the left: permute, batch-multiply, permute."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "..." in equation or any(len(set(t)) != len(t) for t in terms):
        raise CannotLowerError(f"einsum '{equation}' with ellipsis or a repeated label")
    if not _:
        joined = "".join(terms)
        output = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    labels, result = terms[0], operands[0]
    for position in range(1, len(operands)):
        later = output + "".join(terms[position + 1 :])
        labels, result = _contract(
            b, (labels, result), (terms[position], operands[position]), later
        )
    labels, result = _sum_out(b, labels, result, output)
    return b.transpose(result, [labels.index(label) for label in output])


def _sum_out(b: LoweringBuilder, labels: str, x: Tensor, kept: str) -> tuple[str, Tensor]:
    """Add up the axes whose labels nobody reads."""
    axes = [i for i, label in enumerate(labels) if label not in kept]
    if axes:
        x = b.reduce("SUM", x, axes, keep_dims=False)
    return "".join(label for label in labels if label in kept), x


def _contract(
    b: LoweringBuilder, left: tuple[str, Tensor], right: tuple[str, Tensor], later: str
) -> tuple[str, Tensor]:
    left = _sum_out(b, *left, kept=right[0] + later)
    right = _sum_out(b, *right, kept=left[0] + later)
    (labels_x, x), (labels_y, y) = left, right
    shared = [label for label in labels_x if label in labels_y]
    batch = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    rows = [label for label in labels_x if label not in shared]
    columns = [label for label in labels_y if label not in shared]
    size = dict(zip(labels_x + labels_y, x.shape + y.shape, strict=True))

    def shape_of(*groups: list[str]) -> list[Size]:
        return [product(size[label] for label in group) for group in groups]

    def ordered(tensor: Tensor, labels: str, wanted: list[str]) -> Tensor:
        return b.transpose(tensor, [labels.index(label) for label in wanted])

    x = b.reshape(ordered(x, labels_x, batch + rows + inner), shape_of(batch, rows, inner))
    y = b.reshape(ordered(y, labels_y, batch + inner + columns), shape_of(batch, inner, columns))
    result = b.reshape(multiply(b, x, y), [size[label] for label in batch + rows + columns])
    return "".join(batch + rows + columns), result
