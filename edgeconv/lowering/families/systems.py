"""The LU factorization with partial pivoting, and what rests on it: solutions, inverses, determinants.

Source: Golub, Van Loan, "Matrix Computations", 3.4; rows are chosen as LAPACK chooses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.graph.ops.spec import broadcast_shapes
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.matrices import (
    as_batch,
    column_of,
    identity,
    keep_lower,
    keep_upper,
    numbers,
    outer_shape,
    permutation_matrix,
    row_of,
    select,
    sizes_of,
    transposed,
)
from edgeconv.lowering.families.triangular import count_good, substitute
from edgeconv.lowering.looping import repeat
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@dataclass(frozen=True, slots=True)
class _Factored:
    """A batch of matrices, factored.

    Attributes:
        data: [batch, m, n] L below the diagonal, U from it on.
        order: [batch, m] which row of the matrix each row comes from.
        pivots: [batch, k] with which row each was exchanged, from 1 on.
    """

    data: Tensor
    order: Tensor
    pivots: Tensor


def _factor(b: LoweringBuilder, x: Tensor) -> _Factored:
    rows, columns = sizes_of(x)
    count = min(rows, columns)
    order = b.broadcast(numbers(b, rows), (x.shape[0], rows))
    pivots = b.broadcast(numbers(b, count), (x.shape[0], count))
    return _Factored(*repeat(b, count, [x, order, pivots], _eliminate))


def _eliminate(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], _: Sequence[Tensor]
) -> list[Tensor]:
    """Exchange rows so that the largest element is on the diagonal, and clear the column below it."""
    x, order, pivots = state
    rows, columns = sizes_of(x)
    places = numbers(b, rows)
    chosen = _place_of_largest(b, column_of(b, x, turn), turn)
    exchange = b.op("SELECT_V2", b.op("EQUAL", places, chosen), turn, places)
    exchange = b.op("SELECT_V2", b.op("EQUAL", places, turn), chosen, exchange)
    x = b.op("GATHER", x, exchange, axis=1, batch_dims=1)
    order = b.op("GATHER", order, exchange, axis=1, batch_dims=1)
    is_now = b.op("EQUAL", numbers(b, min(rows, columns)), turn)
    place = b.op("ADD", chosen, b.scalar(1, DType.INT32))
    return [_clear(b, x, turn), order, b.op("SELECT_V2", is_now, place, pivots)]


def _place_of_largest(b: LoweringBuilder, column: Tensor, turn: Tensor) -> Tensor:
    """[batch, 1]: the row at or after the turn with the largest element of column[batch, m, 1]."""
    size = b.reshape(b.op("ABS", column), column.shape[:2])
    rows = int(str(column.shape[1]))
    is_left = b.op("GREATER_EQUAL", numbers(b, rows), turn)
    place = b.op("ARG_MAX", select(b, is_left, size, -1), axis=1, output_type="int32")
    return b.reshape(place, (column.shape[0], 1))


def _clear(b: LoweringBuilder, x: Tensor, turn: Tensor) -> Tensor:
    """Take multiples of a row from those below it; the multiples stand where they leave 0."""
    rows, columns = sizes_of(x)
    row = row_of(b, x, turn)
    pivot = column_of(b, row, turn)
    divisor = select(b, b.op("NOT_EQUAL", pivot, b.scalar(0, x.dtype)), pivot, 1)
    is_below = b.op("GREATER", b.reshape(numbers(b, rows), (rows, 1)), turn)
    factors = select(b, is_below, b.op("DIV", column_of(b, x, turn), divisor), 0)
    is_right = b.op("GREATER", numbers(b, columns), turn)
    x = b.op("SUB", x, b.op("MUL", factors, select(b, is_right, row, 0)))
    is_here = b.op("EQUAL", numbers(b, columns), turn)
    return b.op("SELECT_V2", b.op("LOGICAL_AND", is_below, is_here), factors, x)


def _diagonal(b: LoweringBuilder, x: Tensor) -> Tensor:
    """x[batch, m, n] to [batch, k]."""
    count = min(sizes_of(x))
    square = b.slice(b.slice(x, 1, 0, count), 2, 0, count)
    kept = select(b, b.constant(np.eye(count, dtype=np.bool_)), square, 0)
    return b.reduce("SUM", kept, [2], keep_dims=False)


def _info(b: LoweringBuilder, x: Tensor) -> Tensor:
    return count_good(b, b.op("NOT_EQUAL", _diagonal(b, x), b.scalar(0, x.dtype)))


def _sign(b: LoweringBuilder, factored: _Factored) -> Tensor:
    """[batch]: 1, or -1 where an odd number of rows was exchanged."""
    count = int(str(factored.pivots.shape[1]))
    own = b.constant(np.arange(1, count + 1, dtype=np.int32))
    is_moved = b.cast(b.op("NOT_EQUAL", factored.pivots, own), DType.INT32)
    total = b.reduce("SUM", is_moved, [1], keep_dims=False)
    odd = b.cast(b.op("FLOOR_MOD", total, b.scalar(2, DType.INT32)), factored.data.dtype)
    dtype = factored.data.dtype
    return b.op("SUB", b.scalar(1, dtype), b.op("MUL", odd, b.scalar(2, dtype)))


def _shaped(b: LoweringBuilder, *values: Tensor) -> list[Tensor]:
    """Results in the shapes that PyTorch gives them."""
    return [b.reshape(v, shape) for v, (_, shape) in zip(values, b.results, strict=True)]


@lower("aten.linalg_lu_factor_ex")
def lu_factor_ex(
    b: LoweringBuilder, x: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> list[Tensor]:
    del check_errors  # a graph cannot raise
    _expect_pivoting(pivot=pivot)
    done = _factor(b, as_batch(b, x))
    return _shaped(b, done.data, done.pivots, _info(b, done.data))


def _expect_pivoting(*, pivot: bool) -> None:
    if not pivot:
        raise CannotLowerError("without pivoting, which PyTorch has on GPUs alone")


@lower("aten.linalg_lu")
def lu(b: LoweringBuilder, x: Tensor, *, pivot: bool = True) -> list[Tensor]:
    _expect_pivoting(pivot=pivot)
    done = _factor(b, as_batch(b, x))
    matrix = permutation_matrix(b, done.order, x.dtype)
    return _shaped(b, transposed(b, matrix), *_triangles(b, done.data))


def _triangles(b: LoweringBuilder, data: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = sizes_of(data)
    count = min(rows, columns)
    left = keep_lower(b, b.slice(data, 2, 0, count), -1)
    left = b.op("ADD", left, identity(b, rows, count, data.dtype))
    return left, keep_upper(b, b.slice(data, 1, 0, count))


@lower("aten.lu_unpack")
def lu_unpack(
    b: LoweringBuilder,
    data: Tensor,
    pivots: Tensor,
    unpack_data: bool = True,
    unpack_pivots: bool = True,
) -> list[Tensor]:
    """What is not asked for is empty."""
    nothing = b.constant(np.zeros(0, np.float32))
    nothing = b.cast(nothing, data.dtype)
    batch = as_batch(b, data)
    left, right = _triangles(b, batch) if unpack_data else (nothing, nothing)
    matrix = nothing
    if unpack_pivots:
        order = _order_of(b, pivots, sizes_of(batch)[0], batch.shape[0])
        matrix = transposed(b, permutation_matrix(b, order, data.dtype))
    return _shaped(b, matrix, left, right)


def _order_of(b: LoweringBuilder, pivots: Tensor, rows: int, batch: Size) -> Tensor:
    """Which row each row comes from, [batch, rows], after the exchanges that pivots[..., k] tell."""
    count = int(str(pivots.shape[-1]))
    flat = b.reshape(b.cast(pivots, DType.INT32), (batch, count))
    order = b.broadcast(numbers(b, rows), (batch, rows))
    (done,) = repeat(b, count, [order], _exchange, [flat])
    return done


def _exchange(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    (order,), (pivots,) = state, fixed
    places = numbers(b, int(str(order.shape[1])))
    chosen = b.op("GATHER", pivots, b.reshape(turn, (1,)), axis=1)
    chosen = b.op("SUB", chosen, b.scalar(1, DType.INT32))
    exchange = b.op("SELECT_V2", b.op("EQUAL", places, chosen), turn, places)
    exchange = b.op("SELECT_V2", b.op("EQUAL", places, turn), chosen, exchange)
    return [b.op("GATHER", order, exchange, axis=1, batch_dims=1)]


def _solve(
    b: LoweringBuilder, data: Tensor, order: Tensor, right: Tensor, *, adjoint: bool = False
) -> Tensor:
    """The solution of P L U x = right, or of its transpose."""
    matrix = permutation_matrix(b, order, data.dtype)
    if adjoint:
        half = substitute(b, transposed(b, data), right, upper=False)
        half = substitute(b, transposed(b, data), half, upper=True, unit=True)
        return b.op("BATCH_MATMUL", transposed(b, matrix), half)
    half = substitute(b, data, b.op("BATCH_MATMUL", matrix, right), upper=False, unit=True)
    return substitute(b, data, half, upper=True)


@lower("aten.linalg_lu_solve")
def lu_solve(
    b: LoweringBuilder,
    data: Tensor,
    pivots: Tensor,
    right: Tensor,
    *,
    left: bool = True,
    adjoint: bool = False,
) -> Tensor:
    """From the right, x A = B is what A' x' = B' is."""
    outer = broadcast_shapes(outer_shape(data), outer_shape(right))
    pivots = b.broadcast(pivots, (*outer, pivots.shape[-1]))
    batch, right = as_batch(b, data, outer), as_batch(b, right, outer)
    order = _order_of(b, pivots, sizes_of(batch)[0], batch.shape[0])
    if left:
        return b.reshape(_solve(b, batch, order, right, adjoint=adjoint), b.shape)
    solved = _solve(b, batch, order, transposed(b, right), adjoint=not adjoint)
    return b.reshape(transposed(b, solved), b.shape)


@lower("aten._linalg_solve_ex")
def solve_ex(
    b: LoweringBuilder, x: Tensor, right: Tensor, *, left: bool = True, check_errors: bool = False
) -> list[Tensor]:
    """The solution, and the factorization that gave it. A right side with an axis less is one of vectors."""
    del check_errors  # a graph cannot raise
    is_vector = right.rank == 1 or (right.rank == x.rank - 1 and right.shape == x.shape[:-1])
    if is_vector:
        right = b.reshape(right, (*right.shape, 1))
    outer = broadcast_shapes(outer_shape(x), outer_shape(right))
    done = _factor(b, as_batch(b, x))
    wide = _Factored(
        *(_repeated(b, t, outer_shape(x), outer) for t in (done.data, done.order, done.pivots))
    )
    right = as_batch(b, right, outer)
    if left or is_vector:
        solved = _solve(b, wide.data, wide.order, right)
    else:
        flipped = _solve(b, wide.data, wide.order, transposed(b, right), adjoint=True)
        solved = transposed(b, flipped)
    return _shaped(b, solved, done.data, done.pivots, _info(b, done.data))


def _repeated(
    b: LoweringBuilder, x: Tensor, before: Sequence[Size], outer: Sequence[Size]
) -> Tensor:
    """x[batch, ...] of the outer sizes before, as one of the outer sizes."""
    if tuple(before) == tuple(outer):
        return x
    rest = x.shape[1:]
    wide = b.broadcast(b.reshape(x, (*before, *rest)), (*outer, *rest))
    size: Size = 1
    for part in outer:
        size = size * part
    return b.reshape(wide, (size, *rest))


@lower("aten.linalg_inv_ex")
def inv_ex(b: LoweringBuilder, x: Tensor, *, check_errors: bool = False) -> list[Tensor]:
    del check_errors  # a graph cannot raise
    batch = as_batch(b, x)
    done = _factor(b, batch)
    ones = b.broadcast(identity(b, *sizes_of(batch), x.dtype), batch.shape)
    return _shaped(b, _solve(b, done.data, done.order, ones), _info(b, done.data))


@lower("aten._linalg_det")
def det(b: LoweringBuilder, x: Tensor) -> list[Tensor]:
    done = _factor(b, as_batch(b, x))
    product_ = b.reduce("REDUCE_PROD", _diagonal(b, done.data), [1], keep_dims=False)
    return _shaped(b, b.op("MUL", product_, _sign(b, done)), done.data, done.pivots)


@lower("aten._linalg_slogdet")
def slogdet(b: LoweringBuilder, x: Tensor) -> list[Tensor]:
    done = _factor(b, as_batch(b, x))
    diagonal = _diagonal(b, done.data)
    signs = b.reduce("REDUCE_PROD", b.op("SIGN", diagonal), [1], keep_dims=False)
    logs = b.reduce("SUM", b.op("LOG", b.op("ABS", diagonal)), [1], keep_dims=False)
    return _shaped(b, b.op("MUL", signs, _sign(b, done)), logs, done.data, done.pivots)
