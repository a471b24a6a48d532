"""Draws the inputs that a model is verified with: seeded noise like the example, and other sizes of dynamic dims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeconv.formats.handler import Array
from edgeconv.signature import Dim, DType, TensorSpec
from edgeconv.validation.reference import CaseKind

__all__ = ["Drawer", "Drawn", "choose_sizes", "draw_first", "draw_like", "vary_example"]

_MAX_DIMS_ALONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Inputs of one case."""

    name: str
    kind: CaseKind
    sizes: Mapping[str, int]
    inputs: Mapping[str, Array]


class Drawer:
    """Draws inputs that look like the example's.

    Floating-point inputs: normal with the example's mean and deviation, or uniform over its range where the
    example is nowhere negative, as images are. Integers: uniform over the example's range, so that token ids
    stay valid; where the example has only 0 and 1, a mask, the first of each row stays 1. Bools: even odds.

    Args:
        specs: The inputs.
        example: Their example arrays.
        seed: All is drawn from it; each case has a stream of its own, so that cases do not depend on order.
    """

    def __init__(
        self, specs: Sequence[TensorSpec], example: Mapping[str, Array], seed: int
    ) -> None:
        self._specs = specs
        self._example = example
        self._seed = seed

    def draw(self, name: str, kind: CaseKind, sizes: Mapping[str, int], stream: int) -> Drawn:
        """Inputs at some sizes of the dynamic dims."""
        generator = np.random.default_rng([self._seed, stream])
        inputs = {
            spec.name: draw_like(
                self._example[spec.name], spec.concrete_shape(sizes), generator
            ).astype(self._example[spec.name].dtype)
            for spec in self._specs
        }
        return Drawn(name=name, kind=kind, sizes=dict(sizes), inputs=inputs)


def draw_first(
    specs: Sequence[TensorSpec], sizes: Mapping[str, int], seed: int
) -> dict[str, Array]:
    """Example inputs where nothing is known but the signature, by name.

    Normal noise; 0 and 1 for integers, since these are valid as token ids and as masks alike.
    """
    generator = np.random.default_rng([seed, len(specs)])
    return {
        spec.name: _draw_first(spec.dtype, spec.concrete_shape(sizes), generator) for spec in specs
    }


def _draw_first(dtype: DType, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if dtype.is_floating or dtype.is_complex:
        kept = "float32" if dtype == DType.BFLOAT16 else dtype.value  # NumPy has no bfloat16
        return np.asarray(generator.standard_normal(shape)).astype(kept)
    example = np.array([False, True]) if dtype == DType.BOOL else np.array([0, 1], dtype.value)
    return draw_like(example, shape, generator).astype(dtype.value)


def draw_like(example: Array, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Values that look like the example's, in another shape."""
    kind = example.dtype.kind
    if kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        return _draw_integers(example, shape, generator)
    if kind == "c":
        complex_example = np.asarray(example, dtype=np.complex128)
        real = _draw_floats(complex_example.real, shape, generator)
        imaginary = _draw_floats(complex_example.imag, shape, generator)
        return real + 1j * imaginary
    return _draw_floats(example, shape, generator)


def _draw_integers(example: Array, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    low, high = (int(example.min()), int(example.max())) if example.size else (0, 0)
    drawn = generator.integers(low, high, shape, endpoint=True, dtype=np.int64)
    if drawn.ndim and drawn.shape[-1] and high == 1 and low >= 0:
        drawn[..., 0] = 1
    return drawn


def _draw_floats(
    example: Array, shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.float64]:
    finite = np.asarray(example, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size or finite.min() == finite.max():
        return np.asarray(generator.standard_normal(shape))
    if finite.min() >= 0:
        return np.asarray(generator.uniform(finite.min(), finite.max(), shape))
    return np.asarray(generator.normal(finite.mean(), finite.std(), shape))


def vary_example(example: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """The example with one input changed at a time, for models that take no noise: what decides is a value of an input.

    Numbers a little larger, one more, one less (integers that count or index stay so), twice as large, zero; the other
    truth values; the other order along the last axis.
    """
    for name, array in example.items():
        for changed in _variations(array):
            if not np.array_equal(changed, array):
                yield {**example, name: np.asarray(changed, dtype=array.dtype)}


def _variations(array: Array) -> Iterator[Array]:
    kind = array.dtype.kind
    if kind == "b":
        yield ~array.astype(np.bool_)
    elif kind in "iu":
        whole = array.astype(np.int64)
        yield whole + 1
        yield whole * 0
        yield np.where(whole > 0, whole - 1, whole) if (whole >= 0).all() else whole - 1
    else:
        number = array.astype(np.complex128 if kind == "c" else np.float64)
        yield from (number * 1.0625, number + 1, number - 1, number * 2, number * 0)
    if array.ndim:
        yield np.flip(array, -1)


def choose_sizes(dims: Sequence[Dim]) -> Iterator[list[dict[str, int]]]:
    """Sizes to verify at besides the example's: per purpose, candidates of which the first that works counts.

    For each of the first dims, the smallest size and a larger one, the others as in the example; and, with
    several dims, one where all differ.
    """
    example = {dim.name: dim.example for dim in dims}
    for dim in dims[:_MAX_DIMS_ALONE]:
        smaller = [size for size in _smaller(dim) if size != dim.example]
        for sizes in (smaller, _larger(dim)):
            if sizes:
                yield [example | {dim.name: size} for size in sizes]
    if len(dims) > 1:
        columns = [_larger(dim) or _smaller(dim) for dim in dims]
        yield [
            {
                dim.name: column[min(row, len(column) - 1)]
                for dim, column in zip(dims, columns, strict=True)
            }
            for row in range(2)
        ]


def _smaller(dim: Dim) -> list[int]:
    return list(dict.fromkeys((dim.min, max(dim.min, 2), max(dim.min, (dim.example + 1) // 2))))


def _larger(dim: Dim) -> list[int]:
    top = dim.max if dim.max is not None else 2 * dim.example + 1
    candidates = (dim.example + max(2, dim.example // 4), dim.example * 2, dim.example + 1, top)
    return list(dict.fromkeys(size for size in candidates if dim.example < size <= top))
