"""Eigenvalues of symmetric matrices, singular values, and what is computed from them, by Jacobi's rotations.

In each turn disjoint pairs of columns are rotated at once, so that a turn is one product with a matrix of rotations;
`n - 1` turns meet every pair once and are a sweep. The rotations converge quadratically: the number of sweeps is
fixed. Source: Golub, Van Loan, "Matrix Computations", 8.5 and 8.6.3. Eigenvectors and singular vectors are determined up
to their sign, which need not be the one that LAPACK gives them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.matrices import (
    as_batch,
    identity,
    keep_lower,
    keep_upper,
    select,
    sizes_of,
    transposed,
)
from edgeconv.lowering.families.orthogonal import factor_qr
from edgeconv.lowering.looping import repeat
from edgeconv.lowering.registry import lower

_SWEEPS = 10
_EPSILON = float(np.finfo(np.float32).eps)
_TINY = 1e-30


def _pairings(size: int) -> NDArray[np.float32]:
    """[turns, size, size]: for each turn the permutation that exchanges the columns of its pairs.

    As in a tournament of all against all, one stands still while the others walk around; with an odd number of columns
    one has no partner, and its row is 0.
    """
    count = size + size % 2
    walkers = list(range(1, count))
    turns = np.zeros((max(count - 1, 1), size, size), np.float32)
    for turn in range(count - 1):
        circle = [0, *walkers[turn:], *walkers[:turn]]
        for one, other in zip(circle[: count // 2], reversed(circle[count // 2 :]), strict=True):
            if max(one, other) < size:
                turns[turn, one, other] = turns[turn, other, one] = 1
    return turns


def _rotation(
    b: LoweringBuilder, pairs: Tensor, own: Tensor, partner: Tensor, shared: Tensor
) -> Tensor:
    """J[batch, n, n], which makes the products of paired columns 0.

    Args:
        b: Builds.
        pairs: [1, n, n] the permutation of the pairs.
        own: [batch, n] each column's product with itself.
        partner: [batch, n] its partner's.
        shared: [batch, n] the one of both.
    """
    dtype = own.dtype
    zero, one = b.scalar(0, dtype), b.scalar(1, dtype)
    size = int(str(own.shape[1]))
    is_apart = b.op("GREATER", b.op("ABS", shared), b.scalar(_TINY, dtype))
    double = b.op("MUL", select(b, is_apart, shared, 1), b.scalar(2, dtype))
    slope = b.op("DIV", b.op("SUB", partner, own), double)
    root = b.op("SQRT", b.op("ADD", b.op("MUL", slope, slope), one))
    steep = b.op("DIV", one, b.op("ADD", b.op("ABS", slope), root))
    # Of two equal ones the first turns one way, the second the other.
    places = b.constant(np.arange(size, dtype=np.float32))
    is_first = b.op(
        "LESS",
        b.cast(places, dtype),
        b.reduce("SUM", b.op("MUL", pairs, b.cast(places, dtype)), [2], keep_dims=False),
    )
    tie = b.op("SELECT_V2", is_first, one, b.scalar(-1, dtype))
    sign = b.op("SELECT_V2", b.op("EQUAL", slope, zero), tie, b.op("SIGN", slope))
    tangent = select(b, is_apart, b.op("MUL", sign, steep), 0)
    cosine = b.op("DIV", one, b.op("SQRT", b.op("ADD", b.op("MUL", tangent, tangent), one)))
    sine = b.op("MUL", tangent, cosine)
    column = (own.shape[0], size, 1)
    diagonal = b.op("MUL", b.reshape(cosine, column), identity(b, size, size, dtype))
    return b.op("ADD", diagonal, b.op("MUL", b.reshape(sine, column), pairs))


def _pairs_of_turn(b: LoweringBuilder, turn: Tensor, table: Tensor) -> Tensor:
    count = b.scalar(int(str(table.shape[0])), turn.dtype)
    place = b.op("FLOOR_MOD", turn, count)
    return b.op("GATHER", table, b.reshape(place, (1,)), axis=0)


def _turn_symmetric(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    """J' x J, and the product of all J so far."""
    (x, vectors), (table,) = state, fixed
    pairs = _pairs_of_turn(b, turn, table)
    size, _ = sizes_of(x)
    own = b.reduce("SUM", b.op("MUL", x, identity(b, size, size, x.dtype)), [2], keep_dims=False)
    row = b.reshape(own, (own.shape[0], 1, size))
    partner = b.reduce("SUM", b.op("MUL", pairs, row), [2], keep_dims=False)
    shared = b.reduce("SUM", b.op("MUL", pairs, x), [2], keep_dims=False)
    rotation = _rotation(b, pairs, own, partner, shared)
    x = b.op("BATCH_MATMUL", transposed(b, rotation), b.op("BATCH_MATMUL", x, rotation))
    # Rounding would make the two halves differ, and the next rotation no rotation.
    x = b.op("MUL", b.op("ADD", x, transposed(b, x)), b.scalar(0.5, x.dtype))
    return [x, b.op("BATCH_MATMUL", vectors, rotation)]


def _turn_columns(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    """Columns that are orthogonal to their partners, and the product of all J so far."""
    (x, vectors), (table,) = state, fixed
    pairs = _pairs_of_turn(b, turn, table)
    partners = b.op("BATCH_MATMUL", x, b.broadcast(pairs, (x.shape[0], *pairs.shape[1:])))
    own, other, shared = (
        b.reduce("SUM", b.op("MUL", *factors), [1], keep_dims=False)
        for factors in ((x, x), (partners, partners), (x, partners))
    )
    rotation = _rotation(b, pairs, own, other, shared)
    return [b.op("BATCH_MATMUL", x, rotation), b.op("BATCH_MATMUL", vectors, rotation)]


def _sorted(b: LoweringBuilder, values: Tensor, *matrices: Tensor) -> list[Tensor]:
    """values[batch, n] from the largest on, and the columns of matrices in that order."""
    largest, places = b.node("TOPK_V2", [values], k=(values.shape[-1],)).outputs
    return [largest, *(b.op("GATHER", m, places, axis=2, batch_dims=1) for m in matrices)]


def _symmetric(b: LoweringBuilder, x: Tensor, uplo: str = "L") -> Tensor:
    """The matrix that one triangle stands for."""
    if uplo.upper() == "L":
        return b.op("ADD", keep_lower(b, x), transposed(b, keep_lower(b, x, -1)))
    return b.op("ADD", keep_upper(b, x), transposed(b, keep_upper(b, x, 1)))


def _eigen(b: LoweringBuilder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [batch, n] of symmetric matrices, the smallest first, and eigenvectors as columns."""
    size, _ = sizes_of(x)
    table = b.cast(b.constant(_pairings(size)), x.dtype)
    vectors = b.broadcast(identity(b, size, size, x.dtype), x.shape)
    turns = _SWEEPS * int(str(table.shape[0])) if size > 1 else 0
    x, vectors = repeat(b, turns, [x, vectors], _turn_symmetric, [table])
    values = b.reduce("SUM", b.op("MUL", x, identity(b, size, size, x.dtype)), [2], keep_dims=False)
    negated, vectors = _sorted(b, b.op("NEG", values), vectors)
    return b.op("NEG", negated), vectors


@lower("aten._linalg_eigh")
def eigh(
    b: LoweringBuilder,
    x: Tensor,
    uplo: str = "L",
    compute_v: bool = True,
) -> list[Tensor]:
    values, vectors = _eigen(b, _symmetric(b, as_batch(b, x), uplo))
    if not compute_v:
        vectors = b.cast(b.constant(np.zeros(0, np.float32)), x.dtype)
    return [b.reshape(t, s) for t, (_, s) in zip((values, vectors), b.results, strict=True)]


@lower("aten.linalg_matrix_sqrth")
def matrix_sqrth(b: LoweringBuilder, x: Tensor) -> Tensor:
    values, vectors = _eigen(b, _symmetric(b, as_batch(b, x)))
    roots = b.op("SQRT", values)
    return b.reshape(_recombined(b, vectors, roots, transposed(b, vectors)), b.shape)


def _recombined(b: LoweringBuilder, left: Tensor, values: Tensor, right: Tensor) -> Tensor:
    """Left diag(values) right, for values[batch, n]."""
    row = b.reshape(values, (values.shape[0], 1, values.shape[1]))
    return b.op("BATCH_MATMUL", b.op("MUL", left, row), right)


def _singular(b: LoweringBuilder, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U[batch, m, k], the singular values [batch, k], the largest first, and V[batch, n, k]."""
    rows, columns = sizes_of(x)
    if rows < columns:
        right, values, left = _singular(b, transposed(b, x))
        return left, values, right
    table = b.cast(b.constant(_pairings(columns)), x.dtype)
    vectors = b.broadcast(identity(b, columns, columns, x.dtype), (x.shape[0], columns, columns))
    turns = _SWEEPS * int(str(table.shape[0])) if columns > 1 else 0
    x, vectors = repeat(b, turns, [x, vectors], _turn_columns, [table])
    lengths = b.op("SQRT", b.reduce("SUM", b.op("MUL", x, x), [1], keep_dims=False))
    values, x, vectors = _sorted(b, lengths, x, vectors)
    return _directions(b, x, values), values, vectors


def _directions(b: LoweringBuilder, x: Tensor, lengths: Tensor) -> Tensor:
    """Orthogonal columns of length 1; those without a length get one that is orthogonal to the others."""
    row = b.reshape(lengths, (lengths.shape[0], 1, lengths.shape[1]))
    largest = b.slice(row, 2, 0, 1)
    limit = b.op("MUL", largest, b.scalar(_EPSILON, x.dtype))
    has_length = b.op("GREATER", row, limit)
    unit = b.op("DIV", x, select(b, has_length, row, 1))
    unit = select(b, has_length, unit, 0)
    basis, _ = factor_qr(b, unit, is_complete=False)
    return b.op("SELECT_V2", has_length, unit, basis)


def _completed(b: LoweringBuilder, unit: Tensor) -> Tensor:
    """[batch, m, k] with columns added, up to m, that are orthogonal to those there are."""
    rows, columns = sizes_of(unit)
    if rows == columns:
        return unit
    basis, _ = factor_qr(b, unit, is_complete=True)
    parts = [unit, b.slice(basis, 2, columns, rows)]
    return b.node("CONCATENATION", parts, axis=2).output


@lower("aten._linalg_svd")
def svd(
    b: LoweringBuilder,
    x: Tensor,
    full_matrices: bool = False,
    compute_uv: bool = True,
    *,
    driver: str | None = None,
) -> list[Tensor]:
    del driver  # names a method of the GPU's
    left, values, right = _singular(b, as_batch(b, x))
    if full_matrices and compute_uv:
        left, right = _completed(b, left), _completed(b, right)
    right = transposed(b, right)
    if not compute_uv:
        left = right = b.cast(b.constant(np.zeros(0, np.float32)), x.dtype)
    return [b.reshape(t, s) for t, (_, s) in zip((left, values, right), b.results, strict=True)]


@lower("aten.linalg_polar")
def polar(b: LoweringBuilder, x: Tensor) -> list[Tensor]:
    left, values, right = _singular(b, as_batch(b, x))
    turned = b.op("BATCH_MATMUL", left, transposed(b, right))
    stretched = _recombined(b, right, values, transposed(b, right))
    return [b.reshape(t, s) for t, (_, s) in zip((turned, stretched), b.results, strict=True)]


@lower("aten.linalg_pinv.atol_rtol_tensor")
def pinv(
    b: LoweringBuilder,
    x: Tensor,
    *,
    atol: Tensor | None = None,
    rtol: Tensor | None = None,
    hermitian: bool = False,
) -> Tensor:
    """Singular values up to a limit are taken for 0; of a Hermitian matrix one triangle is read."""
    batch = as_batch(b, x)
    batch = _symmetric(b, batch) if hermitian else batch
    left, values, right = _singular(b, batch)
    limit = _limit(b, x, b.slice(values, 1, 0, 1), atol, rtol)
    is_kept = b.op("GREATER", values, limit)
    inverse = b.op("DIV", b.scalar(1, x.dtype), select(b, is_kept, values, 1))
    inverse = select(b, is_kept, inverse, 0)
    return b.reshape(_recombined(b, right, inverse, transposed(b, left)), b.shape)


def _limit(
    b: LoweringBuilder, x: Tensor, largest: Tensor, atol: Tensor | None, rtol: Tensor | None
) -> Tensor:
    """[batch, 1]: the larger of both limits; without a relative one it is the rounding, but where an absolute one is set."""
    zero = b.scalar(0, x.dtype)
    absolute = zero if atol is None else _per_matrix(b, atol, x, largest)
    rounding = b.scalar(_EPSILON * max(sizes_of(x)), x.dtype)
    if rtol is not None:
        relative = _per_matrix(b, rtol, x, largest)
    elif atol is not None:
        relative = b.op("SELECT_V2", b.op("GREATER", absolute, zero), zero, rounding)
    else:
        relative = rounding
    return b.op("MAXIMUM", absolute, b.op("MUL", relative, largest))


def _per_matrix(b: LoweringBuilder, value: Tensor, x: Tensor, like: Tensor) -> Tensor:
    """A number for each matrix, [batch, 1]."""
    return b.reshape(b.broadcast(b.cast(value, x.dtype), x.shape[:-2]), like.shape)


# Numerators of the Taylor series up to what single precision shows where the norm is below 1/2.
_TERMS = 12
_LARGEST_HALVINGS = 40


@lower("aten.linalg_matrix_exp")
def matrix_exp(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Taylor's series of a part of the matrix, squared as often as it was halved.

    Source: Golub, Van Loan, "Matrix Computations", 9.3.
    """
    batch = as_batch(b, x)
    size, _ = sizes_of(batch)
    sums = b.reduce("SUM", b.op("ABS", batch), [2], keep_dims=True)
    norm = b.reduce("REDUCE_MAX", sums, [1], keep_dims=True)
    floor = b.op("MAXIMUM", norm, b.scalar(0.5, x.dtype))
    halvings = b.op(
        "CEIL",
        b.op(
            "MUL",
            b.op("LOG", b.op("MUL", floor, b.scalar(2, x.dtype))),
            b.scalar(1 / np.log(2), x.dtype),
        ),
    )
    halvings = b.op("MINIMUM", halvings, b.scalar(_LARGEST_HALVINGS, x.dtype))
    part = b.op("MUL", batch, b.op("POW", b.scalar(0.5, x.dtype), halvings))
    ones = identity(b, size, size, x.dtype)
    series = b.broadcast(ones, batch.shape)
    for term in range(_TERMS, 0, -1):
        product_ = b.op("BATCH_MATMUL", part, series)
        series = b.op("ADD", ones, b.op("MUL", product_, b.scalar(1 / term, x.dtype)))
    most = b.reshape(b.reduce("REDUCE_MAX", halvings, [0], keep_dims=False), ())
    turns = b.op("CAST", most, dtype="int32")
    (done,) = repeat(b, turns, [series], _square, [halvings])
    return b.reshape(done, b.shape)


def _square(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
) -> list[Tensor]:
    (x,), (halvings,) = state, fixed
    is_left = b.op("LESS", b.cast(turn, x.dtype), halvings)
    return [b.op("SELECT_V2", is_left, b.op("BATCH_MATMUL", x, x), x)]
