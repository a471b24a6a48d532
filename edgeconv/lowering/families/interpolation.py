"""Interpolation along one axis whose size, or scale, is known only when the model runs.

Where an element of the result lies among those of the input, and with which weights it is made of them, are computed beside the
image: a column of places against a row of positions gives the matrix that static sizes have as a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.signature import DType

__all__ = ["Interpolation", "cubic_weight", "interpolate"]

# Keys' coefficient: PyTorch's own, and Pillow's, which PyTorch takes with antialiasing.
_SHARPNESS, _SMOOTH_SHARPNESS = -0.75, -0.5
_CUBIC_REACH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolation:
    """One axis of `torch.nn.functional.interpolate`.

    Attributes:
        mode: PyTorch's name of it for two axes.
        factor: The scale that the model gave; None for output over input.
        corners: Whether the outermost elements stay where they are.
        antialias: Whether a reduction reads all elements that it steps over.
    """

    mode: str
    factor: float | None = None
    corners: bool = False
    antialias: bool = False


def interpolate(
    b: LoweringBuilder, x: Tensor, axis: int, result: Size, how: Interpolation
) -> Tensor:
    """`x` with `result` elements along an axis.

    Raises:
        CannotLowerError: There is no such mode.
    """
    places = _Places(b, x.shape[axis], result, how)
    if how.mode.startswith("nearest"):
        return b.op("GATHER", x, places.nearest(), axis=axis)
    perm = [i for i in range(x.rank) if i != axis] + [axis]
    last = b.transpose(x, perm)
    padding = 0 if how.mode == "bilinear" or how.antialias else _CUBIC_REACH
    rows = _repeat_ends(b, last, padding)
    flat = b.reshape(rows, (product(last.shape[:-1]), x.shape[axis] + 2 * padding))
    weights = b.cast(places.weights(padding), x.dtype)
    made = b.op("BATCH_MATMUL", flat, weights, adj_y=True)
    return b.transpose(
        b.reshape(made, (*last.shape[:-1], result)), [perm.index(i) for i in range(x.rank)]
    )


def cubic_weight(
    b: LoweringBuilder, distance: Tensor, *, is_near: bool, sharpness: float = _SHARPNESS
) -> Tensor:
    """The weight of an element at most 1 away, or of one from 1 to 2 away.

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", equation 4.
    """
    a = sharpness
    coefficients = (a + 2, -(a + 3), 0.0, 1.0) if is_near else (a, -5 * a, 8 * a, -4 * a)
    total = b.like(coefficients[0], distance.dtype)
    for coefficient in coefficients[1:]:
        total = b.op("MUL", total, distance)
        total = b.op("ADD", total, b.like(coefficient, distance.dtype))
    return total


class _Places:
    """Where the elements of the result lie, in elements of the input.

    Args:
        b: Builds the arithmetic, in float32, as PyTorch does it.
        size: Elements of the input.
        result: Elements of the result.
        how: The interpolation.
    """

    def __init__(self, b: LoweringBuilder, size: Size, result: Size, how: Interpolation) -> None:
        self._b = b
        self._size = size
        self._how = how
        self._scale = self._find_scale(result)
        self._index = self._count(0, result)

    def nearest(self) -> Tensor:
        """The element of the input that each of the result is, int32 [result]."""
        if self._how.mode == "nearest":
            place = self._b.op("MUL", self._index, self._scale)
        else:
            place = self._b.op("MUL", self._apply("ADD", self._index, 0.5), self._scale)
        whole = self._apply("MINIMUM", self._b.op("FLOOR", place), self._size - 1)
        return self._b.cast(whole, DType.INT32)

    def weights(self, padding: int) -> Tensor:
        """The weight of each element of the input in each of the result, [result, size + 2 * padding].

        Raises:
            CannotLowerError: The mode is none.
        """
        positions = self._count(-padding, self._size + padding)
        if self._how.antialias:
            return self._smooth_weights(positions)
        if self._how.mode == "bicubic":
            return self._cubic(self._distances(positions, self._centers()), _SHARPNESS)
        if self._how.mode != "bilinear":
            raise CannotLowerError(f"{self._how.mode}, of a dynamic size")
        inside = self._apply("MAXIMUM", self._centers(), 0.0)
        inside = self._apply("MINIMUM", inside, self._size - 1)
        return self._linear(self._distances(positions, inside))

    def _smooth_weights(self, positions: Tensor) -> Tensor:
        """As wide as the step from element to element, where that is more than one; no weight is outside of the image.

        Source: Pillow's `Resample.c`, which PyTorch's antialiased kernels follow.
        """
        step = self._apply("MAXIMUM", self._scale, 1.0)
        distances = self._b.op("DIV", self._distances(positions, self._centers()), step)
        if self._how.mode == "bicubic":
            raw = self._cubic(distances, _SMOOTH_SHARPNESS)
        else:
            raw = self._linear(distances)
        return self._b.op("DIV", raw, self._b.reduce("SUM", raw, [1], keep_dims=True))

    def _find_scale(self, result: Size) -> Tensor:
        """From one element of the result to the next."""
        if self._how.corners:
            steps = self._apply(
                "MAXIMUM", self._number(result - 1), 1.0
            )  # one element stays the first
            return self._b.op("DIV", self._number(self._size - 1), steps)
        if self._how.factor is not None:
            return self._number(1.0 / self._how.factor)
        return self._b.op("DIV", self._number(self._size), self._number(result))

    def _centers(self) -> Tensor:
        if self._how.corners:
            return self._b.op("MUL", self._index, self._scale)
        scaled = self._b.op("MUL", self._apply("ADD", self._index, 0.5), self._scale)
        return self._apply("SUB", scaled, 0.5)

    def _distances(self, positions: Tensor, places: Tensor) -> Tensor:
        column = self._b.reshape(places, (*places.shape, 1))
        row = self._b.reshape(positions, (1, *positions.shape))
        return self._b.op("ABS", self._b.op("SUB", row, column))

    def _linear(self, distances: Tensor) -> Tensor:
        rest = self._b.op("SUB", self._number(1.0), distances)
        return self._apply("MAXIMUM", rest, 0.0)

    def _cubic(self, distances: Tensor, sharpness: float) -> Tensor:
        """Both halves of the curve; each is 0 where the other begins, and beyond."""
        near = self._apply("MINIMUM", distances, 1.0)
        far = self._apply("MINIMUM", self._apply("MAXIMUM", distances, 1.0), float(_CUBIC_REACH))
        inner = cubic_weight(self._b, near, is_near=True, sharpness=sharpness)
        outer = cubic_weight(self._b, far, is_near=False, sharpness=sharpness)
        return self._b.op("ADD", inner, outer)

    def _count(self, start: int, limit: Size) -> Tensor:
        counted = self._b.op("RANGE", start=(start,), limit=(limit,), delta=(1,), dtype="int32")
        return self._b.cast(counted, DType.FLOAT32)

    def _number(self, value: float | Size) -> Tensor:
        return self._b.like(value, DType.FLOAT32)

    def _apply(self, op: str, x: Tensor, value: float | Size) -> Tensor:
        return self._b.op(op, x, self._number(value))


def _repeat_ends(b: LoweringBuilder, x: Tensor, count: int) -> Tensor:
    """`count` more of the first and of the last element, along the last axis."""
    if not count:
        return x
    axis, size = x.rank - 1, x.shape[-1]
    first, last = b.slice(x, axis, 0, 1), b.slice(x, axis, size - 1, size)
    parts = [first] * count + [x] + [last] * count
    return b.node("CONCATENATION", parts, axis=axis).output
