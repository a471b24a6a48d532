"""Upsampling and downsampling.

TFLite resizes images over two axes, to any size, also one known only when the model runs. One axis is an image of
height 1; of three, the last two are resized first. What its kernels do not know (cubic, antialiased, a scale that is
not output over input) is separable: a product with one matrix for each axis, constant where sizes are static.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import to_channels_first, to_channels_last
from edgeconv.lowering.families.interpolation import Interpolation, interpolate
from edgeconv.lowering.registry import Lowering

Scales = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mode:
    """An interpolation: its name for one axis in PyTorch, and what TFLite calls it."""

    name: str
    op: str | None = None
    half_pixels: bool = True
    antialias: bool = False


_NEAREST = _Mode(name="nearest", op="RESIZE_NEAREST_NEIGHBOR", half_pixels=False)
_EXACT = _Mode(name="nearest-exact", op="RESIZE_NEAREST_NEIGHBOR")
_LINEAR = _Mode(name="bilinear", op="RESIZE_BILINEAR")
_CUBIC = _Mode(name="bicubic")
_LINEAR_SMOOTH = _Mode(name="bilinear", antialias=True)
_CUBIC_SMOOTH = _Mode(name="bicubic", antialias=True)


def _nearest(count: int, mode: _Mode, name: str) -> list[Lowering]:
    """`.vec` has the scales in a list, `.default` one after the other."""

    def vector(b: LoweringBuilder, x: Tensor, size: object, scales: Scales | None) -> Tensor:
        return _resize(b, x, count, mode, scales, corners=False)

    def plain(b: LoweringBuilder, x: Tensor, size: object, *scales: float | None) -> Tensor:
        return _resize(b, x, count, mode, scales, corners=False)

    return [Lowering((f"{name}.vec",), vector), Lowering((f"{name}.default",), plain)]


def _smooth(count: int, mode: _Mode, name: str) -> list[Lowering]:
    def vector(
        b: LoweringBuilder,
        x: Tensor,
        size: object,
        align_corners: bool,
        scales: Scales | None,
    ) -> Tensor:
        return _resize(b, x, count, mode, scales, corners=align_corners)

    def plain(
        b: LoweringBuilder,
        x: Tensor,
        size: object,
        align_corners: bool,
        *scales: float | None,
    ) -> Tensor:
        return _resize(b, x, count, mode, scales, corners=align_corners)

    return [Lowering((f"{name}.vec",), vector), Lowering((f"{name}.default",), plain)]


nearest_1d, nearest_1d_plain = _nearest(1, _NEAREST, "aten.upsample_nearest1d")
nearest_2d, nearest_2d_plain = _nearest(2, _NEAREST, "aten.upsample_nearest2d")
nearest_3d, nearest_3d_plain = _nearest(3, _NEAREST, "aten.upsample_nearest3d")
exact_1d, exact_1d_plain = _nearest(1, _EXACT, "aten._upsample_nearest_exact1d")
exact_2d, exact_2d_plain = _nearest(2, _EXACT, "aten._upsample_nearest_exact2d")
exact_3d, exact_3d_plain = _nearest(3, _EXACT, "aten._upsample_nearest_exact3d")
linear_1d, linear_1d_plain = _smooth(1, _LINEAR, "aten.upsample_linear1d")
linear_2d, linear_2d_plain = _smooth(2, _LINEAR, "aten.upsample_bilinear2d")
linear_3d, linear_3d_plain = _smooth(3, _LINEAR, "aten.upsample_trilinear3d")
cubic, cubic_plain = _smooth(2, _CUBIC, "aten.upsample_bicubic2d")
linear_aa, linear_aa_plain = _smooth(2, _LINEAR_SMOOTH, "aten._upsample_bilinear2d_aa")
cubic_aa, cubic_aa_plain = _smooth(2, _CUBIC_SMOOTH, "aten._upsample_bicubic2d_aa")


def _resize(
    b: LoweringBuilder,
    x: Tensor,
    count: int,
    mode: _Mode,
    scales: Scales | None,
    *,
    corners: bool,
) -> Tensor:
    """Resize the last axes; `scales` are the factors that the model gave, if it did."""
    factors = list(scales or []) or [None] * count
    if mode.op is not None and not corners:  # aligned corners reach to the last element
        x = _crop(b, x, count, factors)
    sizes = list(zip(x.shape[-count:], b.shape[-count:], factors, strict=True))
    if mode.op is not None and all(corners or _is_plain(*axis) for axis in sizes):
        return _by_kernel(b, x, count, mode, corners=corners)
    for position, (size, result, factor) in enumerate(sizes):
        axis = x.rank - count + position
        if not (isinstance(size, int) and isinstance(result, int)):
            how = Interpolation(
                mode=mode.name, factor=factor, corners=corners, antialias=mode.antialias
            )
            x = interpolate(b, x, axis, result, how)
        elif size != result or not _is_plain(size, result, factor):
            matrix = _interpolation_matrix(size, result, mode, factor, corners=corners)
            x = _by_matrix(b, x, axis, matrix)
    return x


def _crop(b: LoweringBuilder, x: Tensor, count: int, factors: Scales) -> Tensor:
    """Without the rest that a reduction to every k-th element does not reach; then k is input over output."""
    for axis, factor in zip(range(x.rank - count, x.rank), factors, strict=True):
        step = Fraction(1) / Fraction(factor) if factor else Fraction(0)
        if step.denominator == 1 and step > 1:
            x = b.slice(x, axis, 0, b.shape[axis] * int(step))
    return x


def _is_plain(size: Size, result: Size, factor: float | None) -> bool:
    """Whether the scale is output over input, which is all that TFLite's kernels know."""
    if factor is None:
        return True
    exact = Fraction(factor)
    return size * exact.numerator == result * exact.denominator


def _by_kernel(b: LoweringBuilder, x: Tensor, count: int, mode: _Mode, *, corners: bool) -> Tensor:
    results = b.shape[-count:]
    if corners:
        x = _keep_first(b, x, results)
    image = to_channels_last(b, x)
    n, *sizes, channels = image.shape
    if count == 1:
        line = b.reshape(image, (n, 1, sizes[0], channels))
        pair = _kernel(b, line, (1, results[0]), mode, corners=corners)
        resized = b.reshape(pair, (n, results[0], channels))
    elif count == 2:
        resized = _kernel(b, image, results, mode, corners=corners)
    else:
        planes = b.reshape(image, (n * sizes[0], sizes[1], sizes[2], channels))
        flat = _kernel(b, planes, results[1:], mode, corners=corners)
        columns = b.reshape(flat, (n, sizes[0], results[1] * results[2], channels))
        size = (results[0], results[1] * results[2])
        resized = b.reshape(
            _kernel(b, columns, size, mode, corners=corners), (n, *results, channels)
        )
    return to_channels_first(b, resized)


def _keep_first(b: LoweringBuilder, x: Tensor, results: Sequence[Size]) -> Tensor:
    """With aligned corners, one element is the first one."""
    for axis, result in zip(range(x.rank - len(results), x.rank), results, strict=True):
        if result == 1:
            x = b.slice(x, axis, 0, 1)
    return x


def _kernel(
    b: LoweringBuilder, image: Tensor, size: Sequence[Size], mode: _Mode, *, corners: bool
) -> Tensor:
    if image.shape[1:3] == tuple(size):
        return image
    return b.op(
        mode.op or "",
        image,
        size=tuple(size),
        align_corners=corners,
        half_pixel_centers=mode.half_pixels and not corners,
    )


def _by_matrix(b: LoweringBuilder, x: Tensor, axis: int, matrix: NDArray[np.float64]) -> Tensor:
    """One axis multiplied by a matrix; a matrix that only selects is a list of indices."""
    if (matrix.max(axis=1) == 1).all() and (matrix != 0).sum() == len(matrix):
        return b.op("GATHER", x, b.constant(matrix.argmax(axis=1).astype(np.int32)), axis=axis)
    weight = b.constant(matrix.astype(numpy_dtype(x.dtype)))
    perm = [i for i in range(x.rank) if i != axis] + [axis]
    back = [perm.index(i) for i in range(x.rank)]
    product = b.op("FULLY_CONNECTED", b.transpose(x, perm), weight, None)
    return b.transpose(product, back)


def _interpolation_matrix(
    size: int, result: int, mode: _Mode, factor: float | None, *, corners: bool
) -> NDArray[np.float64]:
    """What PyTorch's own interpolation of an axis makes of the unit vectors."""
    # Two columns: with one, PyTorch's antialiased kernels give nonsense (seen in 2.14).
    eye = torch.eye(size, dtype=torch.float64)[None, :, :, None].expand(1, size, size, 2)
    operator = _OPERATORS[mode.name, mode.antialias]
    flags = () if mode.name.startswith("nearest") else (corners,)
    resized: torch.Tensor = operator(eye, (result, 2), *flags, factor, None)
    matrix: NDArray[np.float64] = resized[0, :, :, 0].T.numpy()
    return matrix


_OPERATORS: Mapping[tuple[str, bool], torch._ops.OpOverload] = {
    ("nearest", False): torch.ops.aten.upsample_nearest2d.default,
    ("nearest-exact", False): torch.ops.aten._upsample_nearest_exact2d.default,
    ("bilinear", False): torch.ops.aten.upsample_bilinear2d.default,
    ("bilinear", True): torch.ops.aten._upsample_bilinear2d_aa.default,
    ("bicubic", False): torch.ops.aten.upsample_bicubic2d.default,
    ("bicubic", True): torch.ops.aten._upsample_bicubic2d_aa.default,
}
