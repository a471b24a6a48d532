"""Upsampling of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edgeconv.dims import is_static
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import to_channels_first, to_channels_last
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower

Scales = Sequence[float] | None


@lower("aten.upsample_bilinear2d.vec", "aten.upsample_bilinear2d.default")
def upsample_bilinear(
    b: LoweringBuilder,
    x: Tensor,
    _: object,
    align_corners: bool,
    scales: Scales | float = None,
    scale_w: float | None = None,
) -> Tensor:
    if not _scale_is_plain(b, x, scales, scale_w):
        return _resize_by_matrices(b, x, "bilinear", align_corners=align_corners, scales=scales)
    return _resize(b, x, "RESIZE_BILINEAR", align_corners=align_corners)


@lower("aten.upsample_nearest2d.vec", "aten.upsample_nearest2d.default")
def upsample_nearest(
    b: LoweringBuilder,
    x: Tensor,
    _: object,
    scales: Scales | float = None,
    scale_w: float | None = None,
) -> Tensor:
    if not _scale_is_plain(b, x, scales, scale_w):
        return _resize_by_matrices(b, x, "nearest", align_corners=False, scales=scales)
    image = to_channels_last(b, x)
    return to_channels_first(b, b.op("RESIZE_NEAREST_NEIGHBOR", image, size=b.shape[2:]))


@lower("aten.upsample_bicubic2d.vec", "aten.upsample_bicubic2d.default")
def upsample_bicubic(
    b: LoweringBuilder,
    x: Tensor,
    _: object,
    align_corners: bool,
    scales: Scales | float = None,
    scale_w: float | None = None,
) -> Tensor:
    return _resize_by_matrices(b, x, "bicubic", align_corners=align_corners, scales=scales)


def _scale_is_plain(
    b: LoweringBuilder, x: Tensor, scales: Scales | float, scale_w: float | None
) -> bool:
    """Whether the scale is output size over input size, which is all that TFLite's resize knows."""
    if scales is None:
        return True
    factors = [scales, scale_w] if isinstance(scales, int | float) else list(scales)
    sizes = zip(x.shape[2:], b.shape[2:], factors, strict=True)
    return all(
        factor is None or not is_static((i, o)) or int(str(i)) * factor == int(str(o))
        for i, o, factor in sizes
    )


def _resize(b: LoweringBuilder, x: Tensor, op: str, *, align_corners: bool) -> Tensor:
    corners = align_corners and all(size != 1 for size in b.shape[2:])
    resized = b.op(
        op,
        to_channels_last(b, x),
        size=b.shape[2:],
        align_corners=corners,
        half_pixel_centers=not align_corners,
    )
    return to_channels_first(b, resized)


def _resize_by_matrices(
    b: LoweringBuilder, x: Tensor, mode: str, *, align_corners: bool, scales: Scales | float
) -> Tensor:
    """Any separable interpolation as a product with one constant matrix for each axis.

    The matrix of an axis is what PyTorch's own interpolation makes of the unit vectors.
    """
    if not is_static((*x.shape[2:], *b.shape[2:])):
        raise CannotLowerError(f"{mode} resize of a dynamic size")
    factors = list(scales) if isinstance(scales, Sequence) else [None, None]
    for axis, factor in zip((2, 3), factors, strict=True):
        matrix = _interpolation_matrix(
            int(str(x.shape[axis])),
            int(str(b.shape[axis])),
            mode,
            factor,
            align_corners=align_corners,
        )
        weight = b.constant(matrix.astype(np.dtype(x.dtype.value)))
        if axis == 3:
            x = b.op("FULLY_CONNECTED", x, weight, None)
        else:
            turned = b.op("FULLY_CONNECTED", b.transpose(x, (0, 1, 3, 2)), weight, None)
            x = b.transpose(turned, (0, 1, 3, 2))
    return x


def _interpolation_matrix(
    size: int, result: int, mode: str, factor: float | None, *, align_corners: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    eye = torch.eye(size, dtype=torch.float64)[None, :, :, None].expand(1, size, size, 1)
    corners = None if mode == "nearest" else align_corners
    if factor is None:
        resized = torch.nn.functional.interpolate(
            eye, size=(result, 1), mode=mode, align_corners=corners
        )
    else:
        resized = torch.nn.functional.interpolate(
            eye,
            scale_factor=(factor, 1.0),
            mode=mode,
            align_corners=corners,
            recompute_scale_factor=False,
        )
    return resized[0, :, :, 0].T.numpy()
