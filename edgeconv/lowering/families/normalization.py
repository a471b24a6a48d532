"""Normalization layers in eval mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import product
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import epsilon as epsilon_of
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower


@lower("aten.batch_norm")
def batch_norm(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """In training mode, by the statistics of the batch itself."""
    if training or running_mean is None or running_var is None:
        return _normalize_affine(b, x, [0, *range(2, x.rank)], weight, bias, eps)
    return _scale_and_shift(b, x, (weight, bias), (running_mean, running_var), eps)


@lower("aten._native_batch_norm_legit_no_training")
def batch_norm_inference(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> list[Tensor | None]:
    empty = b.constant(np.zeros(0, numpy_dtype(x.dtype)))
    normal = _scale_and_shift(b, x, (weight, bias), (running_mean, running_var), eps)
    return [normal, empty, empty]


def _scale_and_shift(
    b: LoweringBuilder,
    x: Tensor,
    affine: tuple[Tensor | None, Tensor | None],
    statistics: tuple[Tensor, Tensor],
    epsilon: float,
) -> Tensor:
    """One multiplication and one addition with constants, computed in float64; with what is computed, in full."""
    if not all(p is None or p.is_constant for p in (*affine, *statistics)):
        return _normalize_by(b, x, affine, statistics, epsilon)
    weight, bias = affine
    mean, var = (_values(tensor) for tensor in statistics)
    gain = 1 / np.sqrt(var + epsilon)
    gain = gain if weight is None else gain * _values(weight)
    shift = -mean * gain if bias is None else _values(bias) - mean * gain
    shape = (1, x.shape[1], *([1] * (x.rank - 2)))
    dtype = numpy_dtype(x.dtype)
    scaled = b.op("MUL", x, b.reshape(b.constant(gain.astype(dtype)), shape))
    return b.op("ADD", scaled, b.reshape(b.constant(shift.astype(dtype)), shape))


def _normalize_by(
    b: LoweringBuilder,
    x: Tensor,
    affine: tuple[Tensor | None, Tensor | None],
    statistics: tuple[Tensor, Tensor],
    epsilon: float,
) -> Tensor:
    shape = (1, x.shape[1], *([1] * (x.rank - 2)))
    mean, var, weight, bias = (
        None if p is None else b.reshape(b.cast(p, x.dtype), shape) for p in (*statistics, *affine)
    )
    root = b.op("SQRT", b.op("ADD", var, b.scalar(epsilon, x.dtype)))
    return _affine(b, b.op("DIV", b.op("SUB", x, mean), root), weight, bias)


def _values(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if tensor.constant is None:
        raise CannotLowerError("batch norm with statistics that are no constants")
    return tensor.constant.astype(np.float64)


def _normalize(b: LoweringBuilder, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over axes; the variance is the biased one."""
    centered = b.op("SUB", x, b.reduce("MEAN", x, axes, keep_dims=True))
    variance = b.reduce("MEAN", b.op("MUL", centered, centered), axes, keep_dims=True)
    inverse = b.op("RSQRT", b.op("ADD", variance, b.scalar(epsilon, x.dtype)))
    return b.op("MUL", centered, inverse)


def _affine(b: LoweringBuilder, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = b.op("MUL", x, b.cast(weight, x.dtype))
    return x if bias is None else b.op("ADD", x, b.cast(bias, x.dtype))


def _normalize_affine(
    b: LoweringBuilder,
    x: Tensor,
    axes: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    epsilon: float,
) -> Tensor:
    """Normalize, then scale and shift by one value for each channel (axis 1)."""
    shape = (1, x.shape[1], *([1] * (x.rank - 2)))
    weight, bias = (None if p is None else b.reshape(p, shape) for p in (weight, bias))
    return _affine(b, _normalize(b, x, axes, epsilon), weight, bias)


@lower("aten.layer_norm")
def layer_norm(
    b: LoweringBuilder,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    """Source: Ba, Kiros, Hinton, "Layer Normalization"."""
    axes = range(x.rank - len(normalized_shape), x.rank)
    return _affine(b, _normalize(b, x, axes, eps), weight, bias)


@lower("aten.rms_norm")
def rms_norm(
    b: LoweringBuilder,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    axes = range(x.rank - len(normalized_shape), x.rank)
    epsilon = epsilon_of(x.dtype) if eps is None else eps
    mean = b.reduce("MEAN", b.op("MUL", x, x), axes, keep_dims=True)
    inverse = b.op("RSQRT", b.op("ADD", mean, b.scalar(epsilon, x.dtype)))
    return _affine(b, b.op("MUL", x, inverse), weight, None)


@lower("aten.group_norm")
def group_norm(
    b: LoweringBuilder,
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    """Source: Wu, He, "Group Normalization". One group, or one channel a group, needs no reshape."""
    channels = x.shape[1]
    if num_groups == 1:
        return _normalize_affine(b, x, range(1, x.rank), weight, bias, eps)
    if num_groups == channels:
        return _normalize_affine(b, x, range(2, x.rank), weight, bias, eps)
    grouped = (x.shape[0], num_groups, product(x.shape[1:]) // num_groups)
    normal = b.reshape(_normalize(b, b.reshape(x, grouped), (2,), eps), x.shape)
    shape = (1, channels, *([1] * (x.rank - 2)))
    weight, bias = (None if p is None else b.reshape(p, shape) for p in (weight, bias))
    return _affine(b, normal, weight, bias)


@lower("aten.instance_norm")
def instance_norm(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Tensor:
    """Source: Ulyanov et al., "Instance Normalization"."""
    if not use_input_stats and running_mean is not None and running_var is not None:
        return _scale_and_shift(b, x, (weight, bias), (running_mean, running_var), eps)
    return _normalize_affine(b, x, range(2, x.rank), weight, bias, eps)
