"""Fourier transforms of real signals, in real arithmetic.

TFLite has no complex kernels that devices share, so a complex value is a pair of real tensors, and a transform of a
static size is a product with a constant matrix.
"""

from __future__ import annotations

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.shaping import swap
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.lowering.values import ComplexPair


@lower("aten.fft_rfft")
def rfft(
    b: LoweringBuilder, x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None
) -> ComplexPair:
    """X[k] = sum x[t] exp(-2 pi i k t / n), k up to n / 2."""
    axis = dim % x.rank
    length = x.shape[axis] if n is None else n
    if not isinstance(length, int):
        raise CannotLowerError("a Fourier transform of a dynamic length")
    signal = b.slice(x, axis, 0, min(length, int(str(x.shape[axis]))))
    signal = swap(b, signal, axis, -1)
    used = int(str(signal.shape[-1]))
    cosine, sine = _transform_matrices(length, used, norm, np.dtype(x.dtype.value))
    parts = [b.op("FULLY_CONNECTED", signal, b.constant(m), None) for m in (cosine, sine)]
    real, imag = (swap(b, part, axis, -1) for part in parts)
    return ComplexPair(real, imag)


def _transform_matrices(
    length: int, used: int, norm: str | None, dtype: np.dtype[np.generic]
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.generic]], ...]:
    scale = {None: 1.0, "backward": 1.0, "ortho": length**-0.5, "forward": 1 / length}[norm]
    turns = np.outer(np.arange(length // 2 + 1), np.arange(used)) % length
    angles = 2 * np.pi * turns / length
    return (scale * np.cos(angles)).astype(dtype), (-scale * np.sin(angles)).astype(dtype)


@lower("aten.abs.default")
def absolute(b: LoweringBuilder, x: Tensor | ComplexPair) -> Tensor:
    if isinstance(x, Tensor):
        return b.op("ABS", x)
    squares = b.op("ADD", b.op("MUL", x.real, x.real), b.op("MUL", x.imag, x.imag))
    return b.op("SQRT", squares)


@lower("aten.real")
def real(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return x.real


@lower("aten.imag")
def imag(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return x.imag


@lower("aten.view_as_real")
def view_as_real(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return b.node("PACK", [x.real, x.imag], axis=x.real.rank).output
