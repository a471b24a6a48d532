"""Systems of equations with a triangular matrix, and Cholesky's factorization.

Source: Golub, Van Loan, "Matrix Computations", 3.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.graph.ops.spec import broadcast_shapes
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.matrices import (
    as_batch,
    column_of,
    identity,
    numbers,
    outer_shape,
    row_of,
    select,
    sizes_of,
    transposed,
    zeros,
)
from edgeconv.lowering.looping import Step, repeat
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

__all__ = ["count_good", "substitute"]


def substitute(
    b: LoweringBuilder, matrix: Tensor, right: Tensor, *, upper: bool, unit: bool = False
) -> Tensor:
    """Solve T[batch, n, n] x = right[batch, n, k]; the other triangle of T is not used, nor the diagonal where it is 1."""
    size, _ = sizes_of(matrix)
    start = zeros(b, right.shape, right.dtype)
    (solved,) = repeat(
        b, size, [start], _substitution(size, upper=upper, unit=unit), [matrix, right]
    )
    return solved


def _substitution(size: int, *, upper: bool, unit: bool) -> Step:
    def step(
        b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
    ) -> list[Tensor]:
        (solved,), (matrix, right) = state, fixed
        place = b.op("SUB", b.scalar(size - 1, DType.INT32), turn) if upper else turn
        row = row_of(b, matrix, place)
        # What is not solved yet is 0, and so has no part in it.
        rest = b.op("SUB", row_of(b, right, place), b.op("BATCH_MATMUL", row, solved))
        value = rest if unit else b.op("DIV", rest, column_of(b, row, place))
        here = b.op("EQUAL", b.reshape(numbers(b, size), (size, 1)), place)
        return [b.op("SELECT_V2", here, value, solved)]

    return step


@lower("aten.linalg_solve_triangular")
def solve_triangular(
    b: LoweringBuilder,
    matrix: Tensor,
    right: Tensor,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Tensor:
    """From the right, x T = B is what T' x' = B' is."""
    outer = broadcast_shapes(outer_shape(matrix), outer_shape(right))
    matrix, right = as_batch(b, matrix, outer), as_batch(b, right, outer)
    if left:
        return b.reshape(substitute(b, matrix, right, upper=upper, unit=unitriangular), b.shape)
    flipped = substitute(
        b, transposed(b, matrix), transposed(b, right), upper=not upper, unit=unitriangular
    )
    return b.reshape(transposed(b, flipped), b.shape)


@lower("aten.triangular_solve")
def triangular_solve(
    b: LoweringBuilder,
    right: Tensor,
    matrix: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> list[Tensor]:
    outer = broadcast_shapes(outer_shape(matrix), outer_shape(right))
    batch = as_batch(b, matrix, outer)
    turned = transposed(b, batch) if transpose else batch
    solved = substitute(
        b, turned, as_batch(b, right, outer), upper=upper != transpose, unit=unitriangular
    )
    return [b.reshape(solved, b.shape), b.reshape(batch, b.results[1][1])]


@lower("aten.linalg_cholesky_ex")
def cholesky_ex(
    b: LoweringBuilder,
    x: Tensor,
    *,
    upper: bool = False,
    check_errors: bool = False,
) -> list[Tensor]:
    """The factor, and the number of the first column that has none, else 0."""
    del check_errors  # a graph cannot raise
    batch = as_batch(b, x)
    factor = _cholesky(b, transposed(b, batch) if upper else batch)
    size, _ = sizes_of(factor)
    diagonal = b.reduce(
        "SUM", b.op("MUL", factor, identity(b, size, size, x.dtype)), [2], keep_dims=False
    )
    is_good = b.op("GREATER", diagonal, b.scalar(0, x.dtype))
    info = count_good(b, is_good)
    factor = transposed(b, factor) if upper else factor
    return [b.reshape(factor, b.shape), b.reshape(info, b.results[1][1])]


def count_good(b: LoweringBuilder, is_good: Tensor) -> Tensor:
    """LAPACK's `info`, of flags[batch, n]: 0 where all are set, else the place of the first that is not, from 1 on."""
    size = int(str(is_good.shape[-1]))
    places = b.constant(np.arange(1, size + 1, dtype=np.int32))
    first = b.reduce(
        "REDUCE_MIN",
        b.op("SELECT_V2", is_good, b.scalar(size + 1, DType.INT32), places),
        [1],
        keep_dims=False,
    )
    return select(b, b.op("LESS_EQUAL", first, b.scalar(size, DType.INT32)), first, 0)


def _cholesky(b: LoweringBuilder, x: Tensor) -> Tensor:
    """L with L L' = x, of which the lower triangle alone is read."""
    size, _ = sizes_of(x)
    return repeat(b, size, [zeros(b, x.shape, x.dtype), x], _cholesky_step)[0]


def _cholesky_step(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], _: Sequence[Tensor]
) -> list[Tensor]:
    """One column of the factor; its products are taken from what is left."""
    factor, rest = state
    size = sizes_of(rest)[0]
    column = column_of(b, rest, turn)
    root = b.op("SQRT", row_of(b, column, turn))
    places = numbers(b, size)
    is_below = b.op("GREATER_EQUAL", b.reshape(places, (size, 1)), turn)
    column = select(b, is_below, b.op("DIV", column, root), 0)
    factor = b.op("SELECT_V2", b.op("EQUAL", places, turn), column, factor)
    return [factor, b.op("SUB", rest, b.op("MUL", column, transposed(b, column)))]


@lower("aten.cholesky_solve")
def cholesky_solve(
    b: LoweringBuilder, right: Tensor, factor: Tensor, upper: bool = False
) -> Tensor:
    outer = broadcast_shapes(outer_shape(factor), outer_shape(right))
    solved = _solve_factored(b, as_batch(b, factor, outer), as_batch(b, right, outer), upper=upper)
    return b.reshape(solved, b.shape)


@lower("aten.cholesky_inverse")
def cholesky_inverse(b: LoweringBuilder, factor: Tensor, upper: bool = False) -> Tensor:
    batch = as_batch(b, factor)
    ones = b.broadcast(identity(b, *sizes_of(batch), factor.dtype), batch.shape)
    return b.reshape(_solve_factored(b, batch, ones, upper=upper), b.shape)


def _solve_factored(b: LoweringBuilder, factor: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    lower_, upper_ = (transposed(b, factor), factor) if upper else (factor, transposed(b, factor))
    half = substitute(b, lower_, right, upper=False)
    return substitute(b, upper_, half, upper=True)
