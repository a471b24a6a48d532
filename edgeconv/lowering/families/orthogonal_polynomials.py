"""Orthogonal polynomials of a degree that is a tensor, by their recurrences of three terms.

Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 22.7. A degree below 0 gives 0, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.arithmetic import Operand
from edgeconv.lowering.looping import Step, repeat
from edgeconv.lowering.registry import Lowering
from edgeconv.signature import DType

# Builder, k (a scalar), x, and the polynomials of degree k - 1 and k, to that of degree k + 1.
_Following = Callable[[LoweringBuilder, Tensor, Tensor, Tensor, Tensor], Tensor]


def _polynomial(
    name: str,
    first: tuple[float, float],
    following: _Following,
    *,
    is_shifted: bool = False,
    last_degree: float = math.inf,
) -> Lowering:
    """The polynomials whose degree 1 is `first[0] * x + first[1]`, of 2x - 1 where shifted; NaN beyond the last degree."""

    def function(b: LoweringBuilder, x: Operand, n: Operand) -> Tensor:
        place = b.broadcast(b.like(x, b.dtype), b.shape)
        degree = b.broadcast(b.cast(b.like(n, b.dtype), DType.INT32), b.shape)
        if is_shifted:
            place = _scaled(b, place, 2, -1)
        one, zero = b.scalar(1, b.dtype), b.scalar(0, b.dtype)
        state = [b.broadcast(one, b.shape), _scaled(b, place, *first)]
        _, value = repeat(b, _turns(b, degree), state, _step(following), [place, degree])
        is_constant = b.op("EQUAL", degree, b.scalar(0, DType.INT32))
        value = b.op("SELECT_V2", is_constant, one, value)
        is_negative = b.op("LESS", degree, b.scalar(0, DType.INT32))
        value = b.op("SELECT_V2", is_negative, zero, value)
        if math.isinf(last_degree):
            return value
        is_beyond = b.op("GREATER", degree, b.scalar(last_degree, DType.INT32))
        return b.op("SELECT_V2", is_beyond, b.scalar(math.nan, b.dtype), value)

    return Lowering((f"aten.special_{name}",), function)


def _turns(b: LoweringBuilder, degree: Tensor) -> int | Tensor:
    """How often the degree rises by 1 from 1 on."""
    if degree.constant is not None:
        return max(int(np.max(np.asarray(degree.constant))) - 1, 0)
    largest = b.reduce("REDUCE_MAX", degree, [], keep_dims=False)
    return b.op("SUB", largest, b.scalar(1, DType.INT32))


def _step(following: _Following) -> Step:
    def step(
        b: LoweringBuilder, turn: Tensor, state: Sequence[Tensor], fixed: Sequence[Tensor]
    ) -> list[Tensor]:
        (before, now), (x, degree) = state, fixed
        k = b.op("ADD", turn, b.scalar(1, DType.INT32))
        later = following(b, b.cast(k, x.dtype), x, before, now)
        is_on = b.op("LESS", k, degree)
        return [b.op("SELECT_V2", is_on, now, before), b.op("SELECT_V2", is_on, later, now)]

    return step


def _scaled(b: LoweringBuilder, x: Tensor, factor: float, offset: float) -> Tensor:
    scaled = x if factor == 1 else b.op("MUL", x, b.scalar(factor, x.dtype))
    return scaled if offset == 0 else b.op("ADD", scaled, b.scalar(offset, x.dtype))


def _difference(
    b: LoweringBuilder, factor: Tensor, now: Tensor, k: Tensor, before: Tensor
) -> Tensor:
    return b.op("SUB", b.op("MUL", factor, now), b.op("MUL", k, before))


def _chebyshev(b: LoweringBuilder, _: Tensor, x: Tensor, before: Tensor, now: Tensor) -> Tensor:
    return b.op("SUB", b.op("MUL", b.op("ADD", x, x), now), before)


def _hermite_h(b: LoweringBuilder, k: Tensor, x: Tensor, before: Tensor, now: Tensor) -> Tensor:
    return _difference(b, b.op("ADD", x, x), now, b.op("ADD", k, k), before)


def _hermite_he(b: LoweringBuilder, k: Tensor, x: Tensor, before: Tensor, now: Tensor) -> Tensor:
    return _difference(b, x, now, k, before)


def _laguerre(b: LoweringBuilder, k: Tensor, x: Tensor, before: Tensor, now: Tensor) -> Tensor:
    factor = b.op("SUB", _scaled(b, k, 2, 1), x)
    return b.op("DIV", _difference(b, factor, now, k, before), _scaled(b, k, 1, 1))


def _legendre(b: LoweringBuilder, k: Tensor, x: Tensor, before: Tensor, now: Tensor) -> Tensor:
    factor = b.op("MUL", _scaled(b, k, 2, 1), x)
    return b.op("DIV", _difference(b, factor, now, k, before), _scaled(b, k, 1, 1))


_FIRST = {"t": (1, 0), "u": (2, 0), "v": (2, -1), "w": (2, 1)}
chebyshev = tuple(
    _polynomial(f"chebyshev_polynomial_{kind}", first, _chebyshev) for kind, first in _FIRST.items()
)
shifted_chebyshev = tuple(
    _polynomial(f"shifted_chebyshev_polynomial_{kind}", first, _chebyshev, is_shifted=True)
    for kind, first in _FIRST.items()
)
_LAST_HERMITE = 128  # where PyTorch stops in single precision
hermite_h = _polynomial("hermite_polynomial_h", (2, 0), _hermite_h, last_degree=_LAST_HERMITE)
hermite_he = _polynomial("hermite_polynomial_he", (1, 0), _hermite_he, last_degree=_LAST_HERMITE)
laguerre = _polynomial("laguerre_polynomial_l", (-1, 1), _laguerre)
legendre = _polynomial("legendre_polynomial_p", (1, 0), _legendre)
