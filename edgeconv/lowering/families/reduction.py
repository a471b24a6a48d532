"""Reductions, arg-reductions, and what runs along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.comparison import as_bool
from edgeconv.lowering.registry import Lowering, lower

Axes = int | Sequence[int] | None


def axes_of(dim: Axes, rank: int) -> list[int]:
    """PyTorch's `dim`: none or an empty list means all axes."""
    chosen = [dim] if isinstance(dim, int) else list(dim or [])
    return [axis % rank for axis in chosen] if rank and chosen else list(range(rank))


def _reduction(op: str, *names: str) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        dim: Axes = None,
        keepdim: bool = False,
        **_: object,
    ) -> Tensor:
        return b.reduce(op, b.cast(x, b.dtype), axes_of(dim, x.rank), keep_dims=keepdim)

    return Lowering(names, function)


total = _reduction("SUM", "aten.sum")
mean = _reduction("MEAN", "aten.mean")
amax = _reduction("REDUCE_MAX", "aten.amax", "aten.max.default")
amin = _reduction("REDUCE_MIN", "aten.amin", "aten.min.default")
prod = _reduction("REDUCE_PROD", "aten.prod")


def _any_or_all(op: str, *names: str) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        dim: Axes = None,
        keepdim: bool = False,
    ) -> Tensor:
        found = as_bool(b, x)
        if (
            dim is None or isinstance(dim, int) or dim
        ):  # unlike elsewhere, an empty list means no axis
            found = b.reduce(op, found, axes_of(dim, x.rank), keep_dims=keepdim)
        return b.cast(found, b.dtype)  # of uint8 it is uint8

    return Lowering(names, function)


any_true = _any_or_all("REDUCE_ANY", "aten.any")
all_true = _any_or_all("REDUCE_ALL", "aten.all")


def _value_and_index(value: str, index: str, *names: str) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        dim: int,
        keepdim: bool = False,
    ) -> list[Tensor]:
        x = b.vector(x)
        values = b.reduce(value, x, [dim], keep_dims=keepdim)
        indices = b.op(index, x, axis=dim % x.rank, output_type="int64")
        return [
            b.reshape(t, shape) for t, (_, shape) in zip((values, indices), b.results, strict=True)
        ]

    return Lowering(names, function)


max_dim = _value_and_index("REDUCE_MAX", "ARG_MAX", "aten.max.dim")
min_dim = _value_and_index("REDUCE_MIN", "ARG_MIN", "aten.min.dim")


def _arg(op: str, name: str) -> Lowering:
    def function(
        b: LoweringBuilder,
        x: Tensor,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Tensor:
        if dim is None:
            x, dim = b.reshape(x, (product(x.shape),)), 0
        x = b.vector(x)
        return b.reshape(b.op(op, x, axis=dim % x.rank, output_type="int64"), b.shape)

    return Lowering((name,), function)


argmax = _arg("ARG_MAX", "aten.argmax")
argmin = _arg("ARG_MIN", "aten.argmin")


def variance(
    b: LoweringBuilder, x: Tensor, axes: Sequence[int], correction: float, *, keep_dims: bool
) -> Tensor:
    """The mean squared distance from the mean, over n - correction."""
    count = product(x.shape[axis] for axis in axes)
    centered = b.op("SUB", x, b.reduce("MEAN", x, axes, keep_dims=True))
    squares = b.op("MUL", centered, centered)
    spread = b.reduce("MEAN", squares, axes, keep_dims=keep_dims)
    if correction == 0:
        return spread
    if isinstance(count, int):
        ratio = count / (count - correction) if count > correction else math.nan
        return b.op("MUL", spread, b.scalar(ratio, x.dtype))
    number = b.like(count, x.dtype)
    rest = b.op("SUB", number, b.scalar(correction, x.dtype))
    return b.op("MUL", spread, b.op("DIV", number, rest))


def _correction(unbiased: object, correction: object) -> float:
    if isinstance(correction, int | float):
        return float(correction)
    return 0.0 if unbiased is False else 1.0


@lower("aten.var")
def var(
    b: LoweringBuilder,
    x: Tensor,
    dim: Axes = None,
    unbiased: object = None,
    keepdim: bool = False,
    correction: object = None,
) -> Tensor:
    if isinstance(dim, bool):  # aten.var(x, unbiased)
        dim, unbiased = None, dim
    axes = axes_of(dim, x.rank)
    return variance(b, x, axes, _correction(unbiased, correction), keep_dims=keepdim)


@lower("aten.std")
def std(
    b: LoweringBuilder,
    x: Tensor,
    dim: Axes = None,
    unbiased: object = None,
    keepdim: bool = False,
    correction: object = None,
) -> Tensor:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    axes = axes_of(dim, x.rank)
    return b.op("SQRT", variance(b, x, axes, _correction(unbiased, correction), keep_dims=keepdim))


@lower("aten.var_mean")
def var_mean(
    b: LoweringBuilder,
    x: Tensor,
    dim: Axes = None,
    unbiased: object = None,
    keepdim: bool = False,
    correction: object = None,
) -> list[Tensor]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    axes = axes_of(dim, x.rank)
    spread = variance(b, x, axes, _correction(unbiased, correction), keep_dims=keepdim)
    return [spread, b.reduce("MEAN", x, axes, keep_dims=keepdim)]


@lower("aten.linalg_vector_norm")
def vector_norm(
    b: LoweringBuilder,
    x: Tensor,
    order: float = 2,
    dim: Axes = None,
    keepdim: bool = False,
    **_: object,
) -> Tensor:
    return p_norm(b, b.cast(x, b.dtype), order, axes_of(dim, x.rank), keep_dims=keepdim)


@lower("aten.norm")
def norm(
    b: LoweringBuilder,
    x: Tensor,
    p: float | None = 2,
    dim: Axes = None,
    keepdim: bool = False,
    **_: object,
) -> Tensor:
    order = 2 if p is None else p
    return p_norm(b, b.cast(x, b.dtype), order, axes_of(dim, x.rank), keep_dims=keepdim)


def p_norm(
    b: LoweringBuilder, x: Tensor, order: float, axes: Sequence[int], *, keep_dims: bool
) -> Tensor:
    """The p-norm over axes."""
    if order == 2:
        return b.op("SQRT", b.reduce("SUM", b.op("MUL", x, x), axes, keep_dims=keep_dims))
    size = b.op("ABS", x)
    if order == 1:
        return b.reduce("SUM", size, axes, keep_dims=keep_dims)
    if order == float("inf"):
        return b.reduce("REDUCE_MAX", size, axes, keep_dims=keep_dims)
    if order == -float("inf"):
        return b.reduce("REDUCE_MIN", size, axes, keep_dims=keep_dims)
    if order == 0:
        nonzero = b.cast(b.op("NOT_EQUAL", x, b.scalar(0, x.dtype)), x.dtype)
        return b.reduce("SUM", nonzero, axes, keep_dims=keep_dims)
    powers = b.reduce("SUM", b.op("POW", size, b.scalar(order, x.dtype)), axes, keep_dims=keep_dims)
    return b.op("POW", powers, b.scalar(1 / order, x.dtype))


@lower("aten.logsumexp")
def logsumexp(
    b: LoweringBuilder,
    x: Tensor,
    dim: Axes,
    keepdim: bool = False,
) -> Tensor:
    return log_of_sum(b, b.cast(x, b.dtype), axes_of(dim, x.rank), keep_dims=keepdim)


def log_of_sum(b: LoweringBuilder, x: Tensor, axes: Sequence[int], *, keep_dims: bool) -> Tensor:
    """log(sum(exp(x))) as max + log(sum(exp(x - max))), which cannot overflow; an infinite maximum is the result itself."""
    largest = b.reduce("REDUCE_MAX", x, axes, keep_dims=True)
    is_finite = b.op("LESS", b.op("ABS", largest), b.scalar(math.inf, x.dtype))
    powers = b.op("EXP", b.op("SUB", x, largest))
    logs = b.op("LOG", b.reduce("SUM", powers, axes, keep_dims=True))
    total = b.op("SELECT_V2", is_finite, b.op("ADD", logs, largest), largest)
    if keep_dims or x.rank == 0:
        return total
    gone = {axis % x.rank for axis in axes}
    return b.reshape(total, [size for axis, size in enumerate(x.shape) if axis not in gone])


__all__ = ["axes_of", "log_of_sum", "p_norm", "variance"]
