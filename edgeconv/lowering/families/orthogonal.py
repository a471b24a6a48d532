"""Householder's reflections and the QR factorization, with LAPACK's signs.

Source: Golub, Van Loan, "Matrix Computations", 5.1 and 5.2; LAPACK's `dgeqrf`, `dorgqr`, `dormqr`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.matrices import (
    as_batch,
    column_of,
    identity,
    keep_upper,
    numbers,
    row_of,
    select,
    sizes_of,
    transposed,
    zeros,
)
from edgeconv.lowering.looping import Step, repeat
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

__all__ = ["factor_qr"]


@lower("aten.geqrf")
def geqrf(b: LoweringBuilder, x: Tensor) -> list[Tensor]:
    """R from the diagonal on; below it the reflections, and how far each reaches."""
    data, reaches = _reflect_all(b, as_batch(b, x))
    return [b.reshape(data, b.shape), b.reshape(reaches, b.results[1][1])]


def _reflect_all(b: LoweringBuilder, x: Tensor) -> tuple[Tensor, Tensor]:
    count = min(sizes_of(x))
    data, reaches = repeat(b, count, [x, zeros(b, (x.shape[0], count), x.dtype)], _reflect)
    return data, reaches


def _reflect(
    b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], _: Sequence[Tensor]
) -> list[Tensor]:
    """Turn one column onto its axis; the columns behind it follow."""
    x, reaches = state
    rows, columns = sizes_of(x)
    column, places = column_of(b, x, turn), b.reshape(numbers(b, rows), (rows, 1))
    below = select(b, b.op("GREATER", places, turn), column, 0)
    end, reach, scale = _reflection(b, row_of(b, column, turn), below)
    here = b.op("EQUAL", places, turn)
    vector = select(b, here, b.scalar(1, x.dtype), b.op("MUL", below, scale))
    behind = b.op("GREATER", numbers(b, columns), turn)
    shares = select(b, behind, b.op("BATCH_MATMUL", transposed(b, vector), x), 0)
    x = b.op("SUB", x, b.op("MUL", b.op("MUL", vector, reach), shares))
    is_above = b.op("LESS", places, turn)
    column = select(b, is_above, column, b.op("SELECT_V2", here, end, vector))
    x = b.op("SELECT_V2", b.op("EQUAL", numbers(b, columns), turn), column, x)
    is_now = b.op("EQUAL", numbers(b, int(str(reaches.shape[1]))), turn)
    return [x, b.op("SELECT_V2", is_now, b.reshape(reach, (reach.shape[0], 1)), reaches)]


def _reflection(b: LoweringBuilder, first: Tensor, below: Tensor) -> tuple[Tensor, ...]:
    """Each [batch, 1, 1]: the length that the column ends with, the reach, and what scales the part below.

    Where there is nothing below, nothing is reflected.
    """
    zero, one = b.scalar(0, below.dtype), b.scalar(1, below.dtype)
    rest = b.reduce("SUM", b.op("MUL", below, below), [1], keep_dims=True)
    length = b.op("SQRT", b.op("ADD", rest, b.op("MUL", first, first)))
    end = b.op("SELECT_V2", b.op("LESS", first, zero), length, b.op("NEG", length))
    is_turned = b.op("GREATER", rest, zero)
    difference = b.op("SUB", end, first)
    reach = b.op("DIV", difference, b.op("SELECT_V2", is_turned, end, one))
    scale = b.op("DIV", b.scalar(-1, below.dtype), b.op("SELECT_V2", is_turned, difference, one))
    return (
        b.op("SELECT_V2", is_turned, end, first),
        b.op("SELECT_V2", is_turned, reach, zero),
        b.op("SELECT_V2", is_turned, scale, zero),
    )


def _apply(
    b: LoweringBuilder, reflections: Tensor, reaches: Tensor, x: Tensor, *, first_to_last: bool
) -> Tensor:
    """x, reflected by each column of `reflections`; from the last to the first one is Q x, else Q' x."""
    count = int(str(reaches.shape[1]))
    step = _application(count, first_to_last=first_to_last)
    (done,) = repeat(b, count, [x], step, [reflections, reaches])
    return done


def _application(count: int, *, first_to_last: bool) -> Step:
    def step(
        b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
    ) -> list[Tensor]:
        (x,), (reflections, reaches) = state, fixed
        place = turn if first_to_last else b.op("SUB", b.scalar(count - 1, DType.INT32), turn)
        rows, _ = sizes_of(reflections)
        places = b.reshape(numbers(b, rows), (rows, 1))
        vector = select(b, b.op("GREATER", places, place), column_of(b, reflections, place), 0)
        vector = select(b, b.op("EQUAL", places, place), b.scalar(1, x.dtype), vector)
        reach = b.op("GATHER", reaches, b.reshape(place, (1,)), axis=1)
        reach = b.reshape(reach, (reach.shape[0], 1, 1))
        shares = b.op("BATCH_MATMUL", transposed(b, vector), x)
        return [b.op("SUB", x, b.op("MUL", b.op("MUL", vector, reach), shares))]

    return step


@lower("aten.linalg_householder_product")
def householder_product(b: LoweringBuilder, x: Tensor, reaches: Tensor) -> Tensor:
    batch = as_batch(b, x)
    return b.reshape(_orthogonal(b, batch, _reaches(b, reaches, batch), sizes_of(x)[1]), b.shape)


def _reaches(b: LoweringBuilder, reaches: Tensor, like: Tensor) -> Tensor:
    return b.reshape(reaches, (like.shape[0], reaches.shape[-1]))


def _orthogonal(b: LoweringBuilder, data: Tensor, reaches: Tensor, columns: int) -> Tensor:
    """The first columns of Q."""
    rows, _ = sizes_of(data)
    ones = b.broadcast(identity(b, rows, columns, data.dtype), (data.shape[0], rows, columns))
    return _apply(b, data, reaches, ones, first_to_last=False)


@lower("aten.ormqr")
def ormqr(
    b: LoweringBuilder,
    x: Tensor,
    reaches: Tensor,
    other: Tensor,
    left: bool = True,
    transpose: bool = False,
) -> Tensor:
    """From the right, C Q is (Q' C')'."""
    batch, other = as_batch(b, x), as_batch(b, other)
    reaches = _reaches(b, reaches, batch)
    if left:
        done = _apply(b, batch, reaches, other, first_to_last=transpose)
    else:
        done = _apply(b, batch, reaches, transposed(b, other), first_to_last=not transpose)
        done = transposed(b, done)
    return b.reshape(done, b.shape)


@lower("aten.linalg_qr")
def qr(b: LoweringBuilder, x: Tensor, mode: str = "reduced") -> list[Tensor]:
    if mode not in ("reduced", "complete", "r"):
        raise CannotLowerError(f"with mode={mode!r}")
    q, r = factor_qr(b, as_batch(b, x), is_complete=mode == "complete")
    if mode == "r":
        q = b.cast(b.constant(np.zeros(0, np.float32)), x.dtype)
    return [b.reshape(t, shape) for t, (_, shape) in zip((q, r), b.results, strict=True)]


def factor_qr(b: LoweringBuilder, x: Tensor, *, is_complete: bool) -> tuple[Tensor, Tensor]:
    """Q[batch, m, k] and R[batch, k, n], with k = m where it is complete."""
    rows, columns = sizes_of(x)
    count = rows if is_complete else min(rows, columns)
    data, reaches = _reflect_all(b, x)
    return _orthogonal(b, data, reaches, count), keep_upper(b, b.slice(data, 1, 0, count))
