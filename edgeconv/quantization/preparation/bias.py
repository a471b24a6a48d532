"""Bias correction: what rounding the weights adds to an output on average is taken off the bias.

Rounded weights are off by a fixed amount; times the mean of what they read, that is a shift of the output which is the
same for every sample, and the bias can take it back exactly.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, with
means that were seen in calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.plugin.quantizer import FloatModel, Operator, QuantizationPlan
from edgeconv.quantization.calibration import Statistics
from edgeconv.quantization.preparation.pairs import shared_constants
from edgeconv.quantization.weights import as_rows, bits_of, round_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]
    Values: TypeAlias = NDArray[np.float64]

__all__ = ["correct_biases"]


def correct_biases(
    model: FloatModel,
    statistics: Statistics,
    plan: QuantizationPlan,
    originals: Mapping[str, Array | None],
) -> int:
    """Correct the biases of all operators whose weights become integers.

    Args:
        model: Its biases are changed.
        statistics: What was seen of its activations.
        plan: Tells the bits of each operator's weights.
        originals: The weights before anything was clipped, by name: clipping shifts outputs as well.

    Returns:
        How many biases were changed.
    """
    changed = 0
    shared = shared_constants(model)  # what is right for one reader is wrong for the other
    for operator in model.operators:
        if operator.weights is not None and operator.weights.bias in shared:
            continue
        shift = _shift(model, operator, statistics, plan, originals)
        bias = "" if operator.weights is None else operator.weights.bias
        value = model.constant(bias) if bias else None
        if shift is not None and value is not None:
            corrected = value.astype(np.float64) - shift.reshape(value.shape)
            model.set_constant(bias, corrected.astype(value.dtype))
            changed += 1
    return changed


def _shift(
    model: FloatModel,
    operator: Operator,
    statistics: Statistics,
    plan: QuantizationPlan,
    originals: Mapping[str, Array | None],
) -> Values | None:
    """What is added to each output channel on average."""
    weights, precision = operator.weights, plan.precision_of(operator.name)
    bits = bits_of(precision.weights)
    seen = statistics.channels.get(operator.inputs[0]) if operator.inputs else None
    if weights is None or bits is None or seen is None or weights.is_grouped or precision.block:
        return None
    value, wanted = model.constant(weights.tensor), originals.get(weights.tensor)
    if value is None or wanted is None:
        return None
    rows = as_rows(value, weights.output_axis)
    moved = np.moveaxis(value, weights.output_axis, 0)
    rounded = round_weights(rows, bits) - as_rows(wanted, weights.output_axis)
    error = rounded.astype(np.float64).reshape(moved.shape)
    if weights.input_axis is None:
        means = np.repeat(seen.mean, weights.multiplier)
        summed: Values = error.reshape(len(rows), -1).sum(axis=1)
        return summed * means if len(means) == len(summed) else None
    # With the output axis in front, the input axis stands one further unless it stood behind it.
    axis = weights.input_axis % value.ndim
    axis = axis + 1 if axis < weights.output_axis % value.ndim else axis
    per_input = np.moveaxis(error, axis, 1).reshape(len(rows), value.shape[weights.input_axis], -1)
    if per_input.shape[1] != len(seen.mean):
        return None
    shift: Values = per_input.sum(axis=2) @ seen.mean
    return shift if np.isfinite(shift).all() else None
