"""Fourier transforms, in real arithmetic: along one axis after the other, a product with a constant matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.shaping import pad_constant, swap
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.lowering.values import ComplexPair
from edgeconv.signature import DType

Matrix = NDArray[np.float64]

_ZERO = 1e-14

# PyTorch's numbers for what a transform is divided by.
_NOTHING, _ROOT, _LENGTH = range(3)


@lower("aten._fft_r2c", is_complex=True)
def real_to_complex(
    b: LoweringBuilder, x: Tensor, dim: Sequence[int], normalization: int, onesided: bool
) -> ComplexPair:
    return _transform_real(b, x, dim, normalization, onesided=onesided)


def _transform_real(
    b: LoweringBuilder, x: Tensor, dim: Sequence[int], normalization: int, *, onesided: bool
) -> ComplexPair:
    """X[k] = sum x[t] exp(-2 pi i k t / n); of a real signal the second half is the first one's conjugate."""
    *others, last = [axis % x.rank for axis in dim]
    length = _length(x, last)
    kept = length // 2 + 1 if onesided else length
    scale = _scale(normalization, [_length(x, axis) for axis in dim])
    cosine, sine = _waves(kept, length)
    pair = _apply(b, [x], last, np.concatenate([cosine, -sine]) * scale)
    for axis in others:
        pair = _transform(b, pair, axis, is_forward=True)
    return pair


@lower("aten._fft_c2c", is_complex=True)
def complex_to_complex(
    b: LoweringBuilder, x: ComplexPair, dim: Sequence[int], normalization: int, forward: bool
) -> ComplexPair:
    axes = [axis % x.real.rank for axis in dim]
    scale = _scale(normalization, [_length(x.real, axis) for axis in axes])
    for axis in axes:
        x = _transform(b, x, axis, is_forward=forward, scale=scale)
        scale = 1.0
    return x


@lower("aten._fft_c2r", is_complex=True)
def complex_to_real(
    b: LoweringBuilder,
    x: ComplexPair,
    dim: Sequence[int],
    normalization: int,
    last_dim_size: Size,
) -> Tensor:
    """x[t] = sum of X[k] exp(2 pi i k t / n) over all k, of which the second half is not there but follows."""
    *others, last = [axis % x.real.rank for axis in dim]
    if not isinstance(last_dim_size, int):
        raise CannotLowerError("of a dynamic length")
    for axis in others:
        x = _transform(b, x, axis, is_forward=False)
    lengths = [_length(x.real, axis) for axis in others]
    scale = _scale(normalization, [*lengths, last_dim_size])
    cosine, sine = _waves(last_dim_size, last_dim_size)
    kept = last_dim_size // 2 + 1
    times = np.full(kept, 2.0)
    times[0] = 1.0
    if last_dim_size % 2 == 0:
        times[-1] = 1.0
    weights = np.concatenate([cosine[:, :kept] * times, -sine[:, :kept] * times], axis=1) * scale
    parts = [b.slice(part, last, 0, kept) for part in (x.real, x.imag)]
    return _multiply(b, parts, last, weights)


def _length(x: Tensor, axis: int) -> int:
    size = x.shape[axis]
    if not isinstance(size, int):
        raise CannotLowerError("of a dynamic length")
    return size


def _scale(normalization: int, lengths: Sequence[int]) -> float:
    total = float(prod(lengths))
    divisors = {_NOTHING: 1.0, _ROOT: sqrt(total), _LENGTH: total}
    return 1 / divisors[normalization]


def _waves(rows: int, length: int) -> tuple[Matrix, Matrix]:
    """Cosine and sine of 2 pi k t / n, exact in the argument and where they are 0."""
    turns = np.outer(np.arange(rows), np.arange(length)) % length
    angles = 2 * np.pi * turns / length
    cosine, sine = (np.where(np.abs(w) < _ZERO, 0.0, w) for w in (np.cos(angles), np.sin(angles)))
    return cosine, sine


def _transform(
    b: LoweringBuilder, x: ComplexPair, axis: int, *, is_forward: bool, scale: float = 1.0
) -> ComplexPair:
    length = _length(x.real, axis)
    cosine, sine = _waves(length, length)
    sine = -sine if is_forward else sine
    matrix = np.block([[cosine, -sine], [sine, cosine]]) * scale
    return _apply(b, [x.real, x.imag], axis, matrix)


def _apply(b: LoweringBuilder, parts: Sequence[Tensor], axis: int, matrix: Matrix) -> ComplexPair:
    """A matrix whose upper half makes the real part and whose lower half the imaginary one."""
    both = _multiply(b, parts, axis, matrix)
    half = len(matrix) // 2
    real, imag = b.node("SPLIT_V", [both], axis=axis, sizes=(half, half)).outputs
    return ComplexPair(real, imag)


def _multiply(b: LoweringBuilder, parts: Sequence[Tensor], axis: int, matrix: Matrix) -> Tensor:
    """Parts, one after the other along an axis, times a matrix."""
    whole = parts[0] if len(parts) == 1 else b.node("CONCATENATION", list(parts), axis=axis).output
    # Adding 0 makes zeros positive, so that a part that must be 0 has no sign.
    weight = b.constant((matrix + 0.0).astype(numpy_dtype(whole.dtype)))
    turned = swap(b, whole, axis, whole.rank - 1)
    return swap(b, b.op("FULLY_CONNECTED", turned, weight, None), axis, whole.rank - 1)


# The transforms as users call them: cut or padded to a length, along one axis.


def _fit(b: LoweringBuilder, x: Tensor, axis: int, length: int | None) -> Tensor:
    size = _length(x, axis)
    if length is None or length == size:
        return x
    after = [length - size if i == axis else 0 for i in range(x.rank)]
    return pad_constant(b, x, [0] * x.rank, after)


def _normalization(norm: str | None, *, is_forward: bool) -> int:
    if norm == "ortho":
        return _ROOT
    divides = norm == "forward" if is_forward else norm != "forward"
    return _LENGTH if divides else _NOTHING


@lower("aten.fft_rfft", is_complex=True)
def rfft(
    b: LoweringBuilder, x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None
) -> ComplexPair:
    part = DType.FLOAT64 if b.dtype == DType.COMPLEX128 else DType.FLOAT32
    signal = _fit(b, b.cast(x, part), dim % x.rank, n)
    return _transform_real(b, signal, [dim], _normalization(norm, is_forward=True), onesided=True)
