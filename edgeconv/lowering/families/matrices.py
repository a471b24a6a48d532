"""What the factorizations of matrices share: batches of them, and picking rows and columns by number.

A matrix here is always x[batch, rows, columns], of known rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.signature import DType

__all__ = [
    "as_batch",
    "column_of",
    "identity",
    "keep",
    "keep_lower",
    "keep_upper",
    "numbers",
    "outer_shape",
    "permutation_matrix",
    "row_of",
    "select",
    "sizes_of",
    "transposed",
    "zeros",
]


def sizes_of(x: Tensor) -> tuple[int, int]:
    """Rows and columns.

    Raises:
        CannotLowerError: They are not known.
    """
    rows, columns = x.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise CannotLowerError("of matrices whose size is dynamic")
    return rows, columns


def as_batch(b: LoweringBuilder, x: Tensor, outer: Sequence[Size] | None = None) -> Tensor:
    """x[..., m, n] as x[batch, m, n], repeated to the outer sizes before where they are given."""
    if outer is not None:
        x = b.broadcast(x, (*outer, *x.shape[-2:]))
    return b.reshape(x, (product(x.shape[:-2]), *sizes_of(x)))


def outer_shape(x: Tensor) -> tuple[Size, ...]:
    """The sizes before those of the matrix."""
    return x.shape[:-2]


def transposed(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Rows and columns exchanged."""
    axes = list(range(x.rank))
    return b.transpose(x, [*axes[:-2], axes[-1], axes[-2]])


def numbers(b: LoweringBuilder, count: int) -> Tensor:
    """Whole numbers from 0 on."""
    return b.constant(np.arange(count, dtype=np.int32))


def column_of(b: LoweringBuilder, x: Tensor, index: Tensor) -> Tensor:
    """x[batch, m, n] to its column [batch, m, 1]."""
    return b.op("GATHER", x, b.reshape(index, (1,)), axis=2)


def row_of(b: LoweringBuilder, x: Tensor, index: Tensor) -> Tensor:
    """x[batch, m, n] to its row [batch, 1, n]."""
    return b.op("GATHER", x, b.reshape(index, (1,)), axis=1)


def select(b: LoweringBuilder, condition: Tensor, x: Tensor, other: float | Tensor) -> Tensor:
    """X where the condition holds, else the other."""
    return b.op("SELECT_V2", condition, x, b.like(other, x.dtype))


def keep(b: LoweringBuilder, x: Tensor, mask: NDArray[np.bool_]) -> Tensor:
    """X where a mask is set, else 0."""
    return x if mask.all() else select(b, b.constant(mask), x, 0)


def keep_lower(b: LoweringBuilder, x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle, up to a diagonal."""
    return keep(b, x, np.tri(*sizes_of(x), diagonal, dtype=np.bool_))


def keep_upper(b: LoweringBuilder, x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle, from a diagonal on."""
    return keep(b, x, ~np.tri(*sizes_of(x), diagonal - 1, dtype=np.bool_))


def identity(b: LoweringBuilder, rows: int, columns: int, dtype: DType) -> Tensor:
    """Ones on the diagonal."""
    return b.cast(b.constant(np.eye(rows, columns, dtype=np.float32)), dtype)


def zeros(b: LoweringBuilder, shape: Sequence[Size], dtype: DType) -> Tensor:
    """Nothing yet, for a loop to fill."""
    return b.op("FILL", b.scalar(0, dtype), shape=tuple(shape))


def permutation_matrix(b: LoweringBuilder, order: Tensor, dtype: DType) -> Tensor:
    """P[batch, n, n] such that row i of P x is row order[batch, i] of x."""
    size = int(str(order.shape[-1]))
    places = b.reshape(order, (*order.shape, 1))
    return b.cast(b.op("EQUAL", places, numbers(b, size)), dtype)
