"""Reading an image at computed places: `grid_sample`, and the places themselves: `affine_grid`.

Pixels are rows of a table, in channels-last order, so that each neighbour of all places is one GATHER; weights that
fall outside of the image are zero where the padding is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product as choices

import numpy as np
import torch

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import to_channels_first, to_channels_last
from edgeconv.lowering.families.interpolation import cubic_weight
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower

_LINEAR, _NEAREST, _CUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)

# A neighbour along one axis: its (whole) position and its weight.
Neighbour = tuple[Tensor, Tensor]


@lower("aten.grid_sampler", "aten.grid_sampler_2d", "aten.grid_sampler_3d")
def grid_sampler(
    b: LoweringBuilder,
    image: Tensor,
    grid: Tensor,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> Tensor:
    """Source: Jaderberg et al., "Spatial Transformer Networks"; the grid holds x, y (, z) in [-1, 1]."""
    sampler = _Sampler(b, image, padding_mode, corners=align_corners)
    points = grid.shape[1:-1]
    count = product(points)
    flat = b.reshape(grid, (grid.shape[0], count, grid.shape[-1]))
    neighbours: list[list[Neighbour]] = []
    for axis, size in enumerate(image.shape[2:]):
        # The grid's last number belongs to the first axis.
        place = b.reshape(
            b.slice(flat, 2, grid.rank - 3 - axis, grid.rank - 2 - axis), flat.shape[:2]
        )
        neighbours.append(sampler.neighbours(place, size, interpolation_mode))
    total = sampler.read(neighbours)
    wide = b.reshape(total, (image.shape[0], *points, image.shape[1]))
    return to_channels_first(b, wide)


@lower("aten.affine_grid_generator")
def affine_grid(
    b: LoweringBuilder, theta: Tensor, size: Sequence[Size], align_corners: bool
) -> Tensor:
    """The places of an image's pixels, moved: what the identity makes of them is known, and times `theta`."""
    sizes = [axis for axis in size[2:] if isinstance(axis, int)]
    if len(sizes) != len(size) - 2:
        raise CannotLowerError("a grid of a dynamic size")
    axes = len(sizes)
    identity = torch.eye(axes, axes + 1, dtype=torch.float64)[None]
    places = torch.ops.aten.affine_grid_generator.default(identity, [1, 1, *sizes], align_corners)
    base = np.ones((math.prod(sizes), axes + 1), numpy_dtype(theta.dtype))
    base[:, :axes] = places.reshape(-1, axes).numpy()
    moved = b.op("FULLY_CONNECTED", theta, b.constant(base), None)
    return b.reshape(b.transpose(moved, (0, 2, 1)), (theta.shape[0], *sizes, axes))


class _Sampler:
    def __init__(self, b: LoweringBuilder, image: Tensor, padding: int, *, corners: bool) -> None:
        self._b = b
        self._sizes = image.shape[2:]
        self._padding = padding
        self._corners = corners
        n, *sizes, channels = to_channels_last(b, image).shape
        self._table = b.reshape(to_channels_last(b, image), (n, product(sizes), channels))

    def _number(self, value: float | Size, like: Tensor) -> Tensor:
        return self._b.like(value, like.dtype)

    def _apply(self, op: str, x: Tensor, value: float | Size) -> Tensor:
        return self._b.op(op, x, self._number(value, x))

    def neighbours(self, place: Tensor, size: Size, mode: int) -> list[Neighbour]:
        """The pixels that a place in [-1, 1] is between, along one axis.

        Raises:
            CannotLowerError: There is no such mode.
        """
        pixel = self._to_pixels(place, size)
        if mode == _CUBIC:
            return self._cubic(pixel, size)
        pixel = self._bring_inside(pixel, size)
        if mode == _NEAREST:
            return [self._inside(self._b.op("ROUND", pixel), None, size)]
        if mode != _LINEAR:
            raise CannotLowerError(f"with interpolation {mode}")
        low = self._b.op("FLOOR", pixel)
        share = self._b.op("SUB", pixel, low)
        rest = self._b.op("SUB", self._number(1.0, share), share)
        high = self._apply("ADD", low, 1.0)
        return [self._inside(low, rest, size), self._inside(high, share, size)]

    def _to_pixels(self, place: Tensor, size: Size) -> Tensor:
        """From [-1, 1] to pixels: the outermost centers, or the outermost edges."""
        shifted = self._apply("ADD", place, 1.0)
        if self._corners:
            return self._apply("MUL", self._apply("MUL", shifted, size - 1), 0.5)
        scaled = self._apply("MUL", self._apply("MUL", shifted, size), 0.5)
        return self._apply("SUB", scaled, 0.5)

    def _bring_inside(self, pixel: Tensor, size: Size) -> Tensor:
        if self._padding == _ZEROS:
            return pixel
        if self._padding == _REFLECTION:
            pixel = self._reflect(pixel, size)
        return self._clip(pixel, size)

    def _clip(self, pixel: Tensor, size: Size) -> Tensor:
        return self._apply("MINIMUM", self._apply("MAXIMUM", pixel, 0.0), size - 1)

    def _reflect(self, pixel: Tensor, size: Size) -> Tensor:
        """Fold at the outermost centers or edges: with d the distance from the first, |(d + s mod 2s) - s| upside down."""
        edge = 0.0 if self._corners else -0.5
        span = size - 1 if self._corners else size
        if span == 0:
            return self._apply("MUL", pixel, 0.0)
        distance = self._b.op("ABS", self._apply("SUB", pixel, edge))
        period = self._number(span * 2, distance)
        if not isinstance(
            span, int
        ):  # of one pixel there is none; what comes of it is brought inside by the caller
            period = self._apply("MAXIMUM", period, 1.0)
        turn = self._b.op("FLOOR_MOD", distance, period)
        back = self._b.op("ABS", self._apply("SUB", turn, span))
        inside = self._b.op("SUB", self._number(span, back), back)
        return self._apply("ADD", inside, edge)

    def _cubic(self, pixel: Tensor, size: Size) -> list[Neighbour]:
        low = self._b.op("FLOOR", pixel)
        share = self._b.op("SUB", pixel, low)
        found = []
        for offset in (-1, 0, 1, 2):
            place = self._apply("ADD", low, float(offset))
            distance = self._b.op("ABS", self._apply("SUB", share, float(offset)))
            weight = cubic_weight(self._b, distance, is_near=offset in (0, 1))
            found.append(self._inside(self._bring_inside(place, size), weight, size))
        return found

    def _inside(self, place: Tensor, weight: Tensor | None, size: Size) -> Neighbour:
        """A pixel that there is, and its weight: none where padding of zeros would be read."""
        whole = self._b.op("CAST", self._clip(place, size), dtype="int32")
        if self._padding != _ZEROS:
            return whole, weight if weight is not None else self._ones(place)
        ahead = self._apply("GREATER_EQUAL", place, 0.0)
        behind = self._apply("LESS_EQUAL", place, size - 1)
        is_inside = self._b.cast(self._b.op("LOGICAL_AND", ahead, behind), place.dtype)
        return whole, is_inside if weight is None else self._b.op("MUL", weight, is_inside)

    def _ones(self, like: Tensor) -> Tensor:
        return self._number(1.0, like)

    def read(self, neighbours: Sequence[Sequence[Neighbour]]) -> Tensor:
        """The weighted sum over all combinations of neighbours, as [n, points, channels]."""
        parts = [self._read_one(combination) for combination in choices(*neighbours)]
        total = parts[0]
        for part in parts[1:]:
            total = self._b.op("ADD", total, part)
        return total

    def _read_one(self, combination: Sequence[Neighbour]) -> Tensor:
        (row, weight), *others = combination
        for size, (place, share) in zip(self._sizes[1:], others, strict=True):
            row = self._b.op("ADD", self._apply("MUL", row, size), place)
            weight = self._b.op("MUL", weight, share)
        pixels = self._b.op("GATHER", self._table, row, axis=1, batch_dims=1)
        if weight.rank == 0:
            return pixels
        return self._b.op("MUL", pixels, self._b.reshape(weight, (*weight.shape, 1)))
