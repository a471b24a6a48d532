"""Clips outliers of weights where that leaves a smaller error than rounding everything more coarsely.

Source: Banner, Nahshan and Soudry, "Post training 4-bit quantization of convolutional networks for rapid-deployment", NeurIPS
2019; the threshold is the best of several tried on the weights themselves.
"""

from __future__ import annotations

import numpy as np

from edgeconv.plugin.quantizer import FloatModel, QuantizationPlan, Weights
from edgeconv.quantization.weights import Values, as_rows, bits_of, round_weights

__all__ = ["clip_outliers"]

_SHARES = np.linspace(1.0, 0.5, 26)
_WORTH_IT = 0.98


def clip_outliers(model: FloatModel, plan: QuantizationPlan) -> int:
    """Clip the weights of every operator to where its integers serve them best.

    Args:
        model: Its weights are changed.
        plan: Tells the bits of each operator's weights.

    Returns:
        In how many operators weights were clipped.
    """
    changed = 0
    for operator in model.operators:
        precision = plan.precision_of(operator.name)
        bits = bits_of(precision.weights)
        if operator.weights is not None and bits is not None and not precision.block:
            changed += _clip(model, operator.weights, bits)
    return changed


def _clip(model: FloatModel, weights: Weights, bits: int) -> bool:
    value = model.constant(weights.tensor)
    assert value is not None
    rows = as_rows(value, weights.output_axis)
    limits = _best_limits(rows, bits)
    if np.all(limits >= np.abs(rows).max(axis=1)):
        return False
    shape = [1] * value.ndim
    shape[weights.output_axis] = len(limits)
    ends = limits.reshape(shape)
    model.set_constant(weights.tensor, np.clip(value, -ends, ends).astype(value.dtype))
    return True


def _best_limits(rows: Values, bits: int) -> Values:
    """For each row the greatest absolute value at which rounding and clipping together err least."""
    largest = np.abs(rows).max(axis=1)
    errors = np.stack(
        [
            np.square(round_weights(rows, bits, largest * np.float32(share)) - rows).sum(axis=1)
            for share in _SHARES
        ]
    )
    best = np.argmin(errors, axis=0)
    is_worth_it = errors.min(axis=0) < _WORTH_IT * errors[0]
    limits: Values = np.where(is_worth_it, largest * _SHARES[best], largest).astype(np.float32)
    return limits
