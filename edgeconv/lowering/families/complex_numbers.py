"""Complex numbers, as pairs of real tensors: TFLite has no complex kernels that devices share.

What only rearranges or adds works on each part alone, by the lowering for real tensors. Products of two complex tensors
are four real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families import (
    arithmetic,
    comparison,
    einsum,
    indexing,
    linear,
    reduction,
    scan,
    shaping,
    slicing,
    view_scatter,
)
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import Lowering, lower
from edgeconv.lowering.values import ComplexPair, Value
from edgeconv.signature import DType

Operand = Tensor | ComplexPair | Size | float | complex

_PARTS = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}


def _by_parts(lowering: Lowering, *, promotes: bool = False) -> Lowering:
    """An operator on the real parts, then on the imaginary ones.

    Args:
        lowering: For real tensors.
        promotes: Whether real operands stand for complex ones whose imaginary part is 0, as in a sum; else they are
            no operands, such as indices.
    """

    def function(b: LoweringBuilder, *args: Value, **kwargs: Value) -> Value:
        given = b.results
        b.results = [(_PARTS.get(dtype, dtype), shape) for dtype, shape in given]
        parts = [
            lowering.function(b, *_part(b, list(args), index, promotes), **kwargs)
            for index in (0, 1)
        ]
        b.results = given
        return _join(parts[0], parts[1])

    return Lowering(lowering.names, function, is_complex=True)


def _part(b: LoweringBuilder, value: Sequence[Value], index: int, promotes: bool) -> list[Value]:
    found: list[Value] = []
    for item in value:
        if isinstance(item, list):
            found.append(_part(b, item, index, promotes))
        elif isinstance(item, ComplexPair | complex):
            found.append((item.real, item.imag)[index])
        elif promotes and isinstance(item, Tensor | float) and index == 1:
            found.append(_zeros_like(b, item) if isinstance(item, Tensor) else 0.0)
        else:
            found.append(item)
    return found


def _zeros_like(b: LoweringBuilder, x: Tensor) -> Tensor:
    if x.dtype == DType.BOOL:  # a condition
        return x
    return b.op("FILL", b.scalar(0, b.dtype), shape=x.shape)


def _join(real: Value, imag: Value) -> Value:
    if isinstance(real, list) and isinstance(imag, list):
        return [_join(a, b) for a, b in zip(real, imag, strict=True)]
    if isinstance(real, Tensor) and isinstance(imag, Tensor):
        return ComplexPair(real, imag)
    return None


REARRANGING = tuple(
    _by_parts(lowering)
    for lowering in (
        shaping.reshape, shaping.identity, shaping.permute, shaping.transpose, shaping.t, shaping.movedim,
        shaping.expand, shaping.repeat, shaping.repeat_interleave, shaping.roll, shaping.flip, shaping.pad,
        shaping.constant_pad_nd, slicing.slice_tensor, slicing.narrow, slicing.select, slicing.split,
        slicing.unbind, slicing.unfold, indexing.index, indexing.index_select, indexing.gather,
        indexing.diagonal, reduction.total, reduction.mean, scan.cumsum, arithmetic.neg,
    )
)  # fmt: skip
ADDING = tuple(
    _by_parts(lowering, promotes=True)
    for lowering in (
        shaping.cat, shaping.stack, arithmetic.add, arithmetic.sub, arithmetic.rsub, comparison.where,
        view_scatter.slice_scatter, view_scatter.select_scatter, view_scatter.copy,
    )
)  # fmt: skip


def _pair(b: LoweringBuilder, value: Operand, dtype: DType) -> ComplexPair:
    if isinstance(value, ComplexPair):
        return value
    if isinstance(value, complex):
        return ComplexPair(b.scalar(value.real, dtype), b.scalar(value.imag, dtype))
    return ComplexPair(b.like(value, dtype), b.scalar(0, dtype))


def _product(
    b: LoweringBuilder, x: ComplexPair, y: ComplexPair, multiply: Callable[[Tensor, Tensor], Tensor]
) -> ComplexPair:
    """(a + bi) (c + di) = (ac - bd) + (ad + bc) i for any product that is linear in both."""
    real = b.op("SUB", multiply(x.real, y.real), multiply(x.imag, y.imag))
    imag = b.op("ADD", multiply(x.real, y.imag), multiply(x.imag, y.real))
    return ComplexPair(real, imag)


def _part_dtype(b: LoweringBuilder) -> DType:
    return _PARTS.get(b.dtype, b.dtype)


@lower("aten.mul", "aten.multiply", is_complex=True)
def mul(b: LoweringBuilder, x: Operand, y: Operand) -> ComplexPair:
    dtype = _part_dtype(b)
    for one, other in ((x, y), (y, x)):
        if isinstance(one, ComplexPair) and not isinstance(other, ComplexPair | complex):
            factor = b.like(other, dtype)
            return ComplexPair(b.op("MUL", one.real, factor), b.op("MUL", one.imag, factor))
    return _product(b, _pair(b, x, dtype), _pair(b, y, dtype), lambda p, q: b.op("MUL", p, q))


@lower("aten.div", "aten.divide", "aten.true_divide", is_complex=True)
def div(b: LoweringBuilder, x: Operand, y: Operand) -> ComplexPair:
    dtype = _part_dtype(b)
    top = _pair(b, x, dtype)
    if isinstance(y, ComplexPair | complex):
        below = _pair(b, y, dtype)
        conjugate = ComplexPair(below.real, b.op("NEG", below.imag))
        top = _product(b, top, conjugate, lambda p, q: b.op("MUL", p, q))
        divisor = _squared_size(b, below)
    else:
        divisor = b.like(y, dtype)
    return ComplexPair(b.op("DIV", top.real, divisor), b.op("DIV", top.imag, divisor))


@lower("aten.reciprocal", is_complex=True)
def reciprocal(b: LoweringBuilder, x: ComplexPair) -> ComplexPair:
    size = _squared_size(b, x)
    return ComplexPair(b.op("DIV", x.real, size), b.op("DIV", b.op("NEG", x.imag), size))


def _squared_size(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return b.op("ADD", b.op("MUL", x.real, x.real), b.op("MUL", x.imag, x.imag))


@lower("aten.square", is_complex=True)
def square(b: LoweringBuilder, x: ComplexPair) -> ComplexPair:
    return _product(b, x, x, lambda p, q: b.op("MUL", p, q))


@lower("aten.pow.Tensor_Scalar", is_complex=True)
def power(b: LoweringBuilder, x: ComplexPair, exponent: float) -> ComplexPair:
    if exponent != 2:
        raise CannotLowerError(f"of complex numbers, to the power of {exponent}")
    return _product(b, x, x, lambda p, q: b.op("MUL", p, q))


@lower("aten.mm", "aten.bmm", "aten.matmul", is_complex=True)
def matmul(b: LoweringBuilder, x: Operand, y: Operand) -> ComplexPair:
    return _product(b, _matrix(b, x), _matrix(b, y), lambda p, q: linear.multiply(b, p, q))


@lower("aten.einsum", is_complex=True)
def complex_einsum(
    b: LoweringBuilder, equation: str, operands: Sequence[Operand], path: object = None
) -> ComplexPair:
    if len(operands) != 2:
        raise CannotLowerError(f"of {len(operands)} complex operands")
    x, y = (_matrix(b, value) for value in operands)
    return _product(b, x, y, lambda p, q: einsum.contract(b, equation, [p, q]))


def _matrix(b: LoweringBuilder, value: Operand) -> ComplexPair:
    """A real operand of a product, with zeros of its own shape for the imaginary part."""
    if isinstance(value, ComplexPair):
        return value
    if not isinstance(value, Tensor):
        raise CannotLowerError("of a number and a matrix")
    zeros = b.op("FILL", b.scalar(0, _part_dtype(b)), shape=value.shape)
    return ComplexPair(b.cast(value, _part_dtype(b)), zeros)


@lower("aten.abs", is_complex=True)
def absolute(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return b.op("SQRT", _squared_size(b, x))


@lower("aten.angle", is_complex=True)
def angle(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return b.op("ATAN2", x.imag, x.real)


@lower("aten.exp", is_complex=True)
def exp(b: LoweringBuilder, x: ComplexPair) -> ComplexPair:
    return _polar(b, b.op("EXP", x.real), x.imag)


@lower("aten.polar", is_complex=True)
def polar(b: LoweringBuilder, size: Tensor, direction: Tensor) -> ComplexPair:
    return _polar(b, size, direction)


def _polar(b: LoweringBuilder, size: Tensor, direction: Tensor) -> ComplexPair:
    parts = [b.op("MUL", size, b.op(op, direction)) for op in ("COS", "SIN")]
    return ComplexPair(parts[0], parts[1])


@lower("aten.conj", "aten._conj", "aten._conj_physical", "aten.conj_physical", is_complex=True)
def conj(b: LoweringBuilder, x: ComplexPair) -> ComplexPair:
    return ComplexPair(x.real, b.op("NEG", x.imag))


@lower("aten.real", is_complex=True)
def real(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return x.real


@lower("aten.imag", is_complex=True)
def imag(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    return x.imag


@lower("aten.complex", is_complex=True)
def complex_of(b: LoweringBuilder, x: Tensor, y: Tensor) -> ComplexPair:
    shape = b.shape
    return ComplexPair(b.broadcast(x, shape), b.broadcast(y, shape))


@lower("aten.view_as_real", "aten.view_as_real_copy", is_complex=True)
def view_as_real(b: LoweringBuilder, x: ComplexPair) -> Tensor:
    parts = [b.cast(part, b.dtype) for part in (x.real, x.imag)]
    return b.node("PACK", parts, axis=x.real.rank).output


@lower("aten.view_as_complex", "aten.view_as_complex_copy", is_complex=True)
def view_as_complex(b: LoweringBuilder, x: Tensor) -> ComplexPair:
    parts = [b.slice(x, x.rank - 1, index, index + 1) for index in (0, 1)]
    return ComplexPair(*(b.reshape(part, x.shape[:-1]) for part in parts))


@lower("aten.to", "aten._to_copy", is_complex=True)
def convert(b: LoweringBuilder, x: Operand, *_: object, **__: object) -> ComplexPair | Tensor:
    """A real number is one without an imaginary part, and becomes real by losing it."""
    if not b.dtype.is_complex:
        return b.cast(_pair(b, x, b.dtype).real, b.dtype)
    dtype = _part_dtype(b)
    if isinstance(x, ComplexPair):
        return ComplexPair(b.cast(x.real, dtype), b.cast(x.imag, dtype))
    return _matrix(b, x)
