"""New tensors. What is static is computed by PyTorch before it gets here, unless it is made like another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import DimExpr, Size, is_static, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.signature import DType

_MAX_CONSTANT_ELEMENTS = 64


def fill(b: LoweringBuilder, value: float | Tensor, shape: Sequence[Size]) -> Tensor:
    """A tensor of one value: a small constant as it is, a large or dynamic one filled when it runs."""
    scalar = b.like(value, b.dtype)
    count = product(shape)
    if (
        scalar.constant is not None
        and is_static(shape)
        and int(str(count)) <= _MAX_CONSTANT_ELEMENTS
    ):
        whole = np.full([int(str(size)) for size in shape], scalar.constant)
        return b.constant(whole)
    return b.op("FILL", b.reshape(scalar, ()), shape=tuple(shape))


def _filled(value: float, *names: str) -> Lowering:
    def function(b: LoweringBuilder, *_: object, **__: object) -> Tensor:
        return fill(b, value, b.shape)

    return Lowering(names, function)


zeros = _filled(0, "aten.zeros", "aten.zeros_like", "aten.new_zeros")
ones = _filled(1, "aten.ones", "aten.ones_like", "aten.new_ones")
empty = _filled(0, "aten.empty", "aten.empty_like", "aten.new_empty", "aten.empty_permuted")


@lower("aten.full", "aten.full_like")
def full(b: LoweringBuilder, _: object, value: float | Tensor, **__: object) -> Tensor:
    return fill(b, value, b.shape)


@lower("aten.new_full")
def new_full(b: LoweringBuilder, _: Tensor, size: object, value: float, **__: object) -> Tensor:
    return fill(b, value, b.shape)


@lower("aten.fill")
def fill_like(b: LoweringBuilder, _: Tensor, value: float | Tensor) -> Tensor:
    return fill(b, value, b.shape)


@lower("aten.zero")
def zero(b: LoweringBuilder, _: Tensor) -> Tensor:
    return fill(b, 0, b.shape)


@lower("aten.scalar_tensor")
def scalar_tensor(b: LoweringBuilder, value: Size | float, **_: object) -> Tensor:
    return b.like(value, b.dtype)


@lower("aten.arange.default")
def arange(b: LoweringBuilder, end: Size | Tensor | float, **_: object) -> Tensor:
    return _arange(b, 0, end, 1)


@lower("aten.arange.start", "aten.arange.start_step")
def arange_start(
    b: LoweringBuilder,
    start: Size | Tensor | float,
    end: Size | Tensor | float,
    step: Size | Tensor | float = 1,
    **_: object,
) -> Tensor:
    return _arange(b, start, end, step)


def _arange(
    b: LoweringBuilder,
    start: Size | Tensor | float,
    end: Size | Tensor | float,
    step: Size | Tensor | float,
) -> Tensor:
    """Whole numbers are counted as such; of others there are as many as PyTorch says, start + i * step."""
    if (
        isinstance(start, int | DimExpr)
        and isinstance(step, int)
        and isinstance(end, int | DimExpr)
    ):
        counted = b.op("RANGE", start=(start,), limit=(end,), delta=(step,), dtype="int32")
        return b.cast(counted, b.dtype)
    counted = b.op("RANGE", start=(0,), limit=(b.shape[0],), delta=(1,), dtype="int32")
    scaled = b.op("MUL", b.cast(counted, DType.FLOAT32), b.like(step, DType.FLOAT32))
    return b.cast(b.op("ADD", scaled, b.like(start, DType.FLOAT32)), b.dtype)


@lower("aten.linspace.Tensor_Tensor", "aten.linspace.Tensor_Scalar", "aten.linspace.Scalar_Tensor")
def linspace(
    b: LoweringBuilder, start: Tensor | float, end: Tensor | float, steps: int, **_: object
) -> Tensor:
    """Of whole numbers PyTorch cuts the ends before it divides what is between them."""
    computed = DType.FLOAT64 if b.dtype is DType.FLOAT64 else DType.FLOAT32
    first, last = (b.cast(b.like(x, b.dtype), computed) for x in (start, end))
    return b.cast(even_steps(b, first, last, steps), b.dtype)


def even_steps(b: LoweringBuilder, first: Tensor, last: Tensor, count: int) -> Tensor:
    """Evenly spaced numbers, from both ends as PyTorch's `linspace` computes them: the last one is exact."""
    places = np.arange(count, dtype=first.dtype.value)
    gaps = max(count - 1, 1)
    step = b.op("DIV", b.op("SUB", last, first), b.scalar(gaps, first.dtype))
    up = b.op("ADD", first, b.op("MUL", step, b.constant(places)))
    down = b.op("SUB", last, b.op("MUL", step, b.constant(gaps - places)))
    return b.op("SELECT_V2", b.constant(places < max(count // 2, 1)), up, down)


@lower("aten.triu")
def triu(b: LoweringBuilder, x: Tensor, diagonal: int = 0) -> Tensor:
    return _triangle(b, x, diagonal, is_upper=True)


@lower("aten.tril")
def tril(b: LoweringBuilder, x: Tensor, diagonal: int = 0) -> Tensor:
    return _triangle(b, x, diagonal, is_upper=False)


def _triangle(b: LoweringBuilder, x: Tensor, diagonal: int, *, is_upper: bool) -> Tensor:
    rows, columns = x.shape[-2:]
    down = b.op("RANGE", start=(0,), limit=(rows,), delta=(1,), dtype="int32")
    across = b.op(
        "RANGE", start=(-diagonal,), limit=(columns - diagonal,), delta=(1,), dtype="int32"
    )
    left, right = b.reshape(across, (1, columns)), b.reshape(down, (rows, 1))
    kept = b.op("GREATER_EQUAL" if is_upper else "LESS_EQUAL", left, right)
    return b.op("SELECT_V2", kept, x, b.like(0, x.dtype))
