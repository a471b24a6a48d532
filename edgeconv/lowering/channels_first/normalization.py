"""Layer, group and instance norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import is_static, product
from edgeconv.graph import Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

__all__ = ["LOWERINGS"]

_KEPT = (DType.FLOAT16, DType.FLOAT32)


def _filled(b: LoweringBuilder, value: float, shape: Sequence[int], dtype: DType) -> Tensor:
    return b.constant(np.full(shape, value, numpy_dtype(dtype)))


@lower("aten.layer_norm")
def layer_norm(
    b: LoweringBuilder,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor | None:
    """Source: Ba, Kiros, Hinton, "Layer Normalization"."""
    fits = all(p is None or p.dtype == x.dtype for p in (weight, bias))
    if x.dtype not in _KEPT or not is_static(tuple(normalized_shape)) or not fits:
        return None
    scale = _filled(b, 1, normalized_shape, x.dtype) if weight is None else weight
    axis = x.rank - len(normalized_shape)
    return b.op("LAYER_NORM", x, scale, bias, axis=axis, epsilon=eps)


@lower("aten.group_norm")
def group_norm(
    b: LoweringBuilder,
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor | None:
    """Source: Wu, He, "Group Normalization": each group as one channel of an instance norm."""
    channels = x.shape[1]
    if x.dtype not in _KEPT or not isinstance(channels, int) or x.rank < 3:
        return None
    if num_groups == channels:
        return _instance_norm(b, x, weight, bias, eps)
    groups = b.reshape(x, (x.shape[0], num_groups, product(x.shape[1:]) // num_groups))
    result = b.reshape(_instance_norm(b, groups, None, None, eps), x.shape)
    shape = (1, channels, *([1] * (x.rank - 2)))
    if weight is not None:
        result = b.op("MUL", result, b.reshape(weight, shape))
    return result if bias is None else b.op("ADD", result, b.reshape(bias, shape))


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
) -> Tensor | None:
    """Source: Ulyanov et al., "Instance Normalization"."""
    is_kept = x.dtype in _KEPT and isinstance(x.shape[1], int) and x.rank > 2
    if not is_kept or not (use_input_stats or running_mean is None):
        return None
    return _instance_norm(b, x, weight, bias, eps)


def _instance_norm(
    b: LoweringBuilder, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
) -> Tensor:
    channels = (int(str(x.shape[1])),)
    scale = _filled(b, 1, channels, x.dtype) if weight is None else b.cast(weight, x.dtype)
    shift = _filled(b, 0, channels, x.dtype) if bias is None else b.cast(bias, x.dtype)
    return b.op("INSTANCE_NORM", x, scale, shift, epsilon=epsilon)


LOWERINGS = (layer_norm, group_norm, instance_norm)
