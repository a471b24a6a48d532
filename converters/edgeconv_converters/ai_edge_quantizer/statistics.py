"""Ranges as ai-edge-quantizer takes them: of activations from calibration, of weights so that biases fit beside them.

A bias is stored as a 32-bit integer whose scale is that of the input times that of the weights. Where the weights of a
channel are almost zero and its bias is not, the integer overflows, and ai-edge-quantizer clips it without a word: the
channel loses its bias. Such weights get a wider range here, as TFLiteConverter gives them.

What an operator with weights makes gets a wider range where calibration saw next to nothing there, as behind a ReLU that is
never open: XNNPACK refuses a file whose products are rescaled by 256 or more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from ai_edge_quantizer.algorithms.utils.common_utils import OpQuantConstraint
from ai_edge_quantizer.utils import constrained_ops_utils
from numpy.typing import NDArray

from edgeconv.errors import ConversionError
from edgeconv.plugin.quantizer import Operator, Precision, Range, Weights
from edgeconv_converters.ai_edge_quantizer.surrogates import FIXED, SURROGATES

__all__ = ["Floats", "Statistics", "make_statistics", "refuse_gaps", "refuse_unbounded"]

Floats: TypeAlias = NDArray[np.float32]
Statistics: TypeAlias = dict[str, dict[str, Any]]

_LARGEST_BIAS = 2**30
_STEPS = {"int8": 255, "int16": 32767}
_WEIGHT_STEPS = {"int8": 127, "int4": 7}


_LARGEST_RESCALE = 128.0
_UNBOUNDED = 1e30
"""What is as large stands for infinity: masks are made of such numbers. NaN is not below it either."""

_FROM_ZERO = ("LOGISTIC", "SOFTMAX")
_FROM_ZERO_INT16 = Range(low=0.0, high=32767 / 32768)


class _Pinned(dict[str, Floats]):
    """A range that ai-edge-quantizer cannot change.

    It takes the whole range of a 16-bit output with a fixed scale, -1 to 1, for what is seen there; a reader in 8 bits
    would lose half of its steps to numbers that never come.
    """

    def __setitem__(self, key: str, value: Floats) -> None:
        pass


def make_statistics(
    operators: Sequence[Operator],
    precisions: Mapping[str, Precision],
    ranges: Mapping[str, Range],
    constants: Mapping[str, Floats],
) -> Statistics:
    """Minimum and maximum by tensor name.

    Args:
        operators: Of the main graph, in the order they run in.
        precisions: Of each operator that is quantized.
        ranges: Of activations.
        constants: Weights and biases by name.
    """
    found = {name: _bounds(range_) for name, range_ in ranges.items()}
    known = dict(ranges)
    for operator in operators:
        precision = precisions.get(operator.name)
        if precision is None or not precision.is_static:
            continue
        found.update({name: _bounds(known[name]) for name in _pass_on(operator, known)})
        if precision.activations == "int16" and operator.code in _FROM_ZERO:
            found[operator.name] = _Pinned(_bounds(_FROM_ZERO_INT16))
        if operator.weights is not None:
            step = _step(known[_data(operator, known)], precision.activations)
            bounds = _bound_weights(operator.weights, step, precision.weights, constants)
            if bounds is not None:
                found[operator.weights.tensor] = {"min": -bounds, "max": bounds}
            if precision.activations == "int8":
                largest = constants[operator.weights.tensor] if bounds is None else bounds
                product = step * float(np.abs(largest).max()) / _WEIGHT_STEPS[precision.weights]
                widened = _widen(operator.outputs[0], known, product / _LARGEST_RESCALE)
                found.update({name: _bounds(range_) for name, range_ in widened.items()})
    return found


def _bound_weights(
    weights: Weights, step: float, dtype: str, constants: Mapping[str, Floats]
) -> Floats | None:
    return _fit(weights, step, dtype, constants) if weights.bias else None


def _widen(name: str, known: dict[str, Range], least_step: float) -> dict[str, Range]:
    """The range that gives an 8-bit activation at least this scale, where it has a smaller one."""
    range_ = known.get(name)
    if range_ is None or _step(range_, "int8") >= least_step:
        return {}
    span = least_step * _STEPS["int8"]
    is_negative = -range_.low > range_.high
    wide = Range(low=-span, high=0.0) if is_negative else Range(low=0.0, high=span)
    known[name] = Range(low=min(wide.low, range_.low), high=max(wide.high, range_.high))
    return {name: known[name]}


def refuse_gaps(needed: Mapping[str, str], ranges: Mapping[str, Range]) -> None:
    """Refuse ranges that cannot be turned into scales.

    Args:
        needed: Activations that become integers, with the operator that asks for it.
        ranges: By name.

    Raises:
        ConversionError: Some are missing or not finite; all are listed.
    """
    problems = [
        f"'{name}' of '{operator}': {_words(ranges.get(name))}"
        for name, operator in needed.items()
        if name not in ranges or not _is_bounded(ranges[name])
    ]
    if problems:
        raise ConversionError(
            "the model cannot be quantized with these ranges",
            why="every activation that becomes an integer needs a finite range",
            hint="calibrate with inputs that give finite values, or keep these operators in float32",
            details=problems,
        )


def refuse_unbounded(
    operator: Operator,
    precision: Precision,
    ranges: Mapping[str, Range],
    constants: Mapping[str, Floats],
) -> str:
    """Why the values that an operator reads or makes have no scale; empty if they have one.

    Args:
        operator: The operator.
        precision: What it is to compute in.
        ranges: Of activations.
        constants: What operators read, by name; integers that ai-edge-quantizer makes of one that is infinite end the process
            that runs them.
    """
    if precision.weights in ("float16", "float32"):
        return ""
    weights = operator.weights.tensor if operator.weights else ""
    for name in operator.inputs if precision.is_static else (weights,):
        if name in constants and not np.isfinite(constants[name]).all():
            return f"the constant '{name}' is infinite or NaN, for which integers have no scale"
    if not precision.is_static:
        return ""
    for name in (*operator.inputs, *operator.outputs):
        if name in ranges and not _is_bounded(ranges[name]):
            return f"'{name}' goes from {_words(ranges[name])}, for which integers have no scale"
    return ""


def _is_bounded(range_: Range) -> bool:
    return all(abs(value) < _UNBOUNDED for value in (range_.low, range_.high))


def _words(range_: Range | None) -> str:
    return "no range" if range_ is None else f"{range_.low} to {range_.high}"


def _bounds(range_: Range) -> dict[str, Floats]:
    return {"min": np.asarray(range_.low, np.float32), "max": np.asarray(range_.high, np.float32)}


@cache
def _same_as_input() -> frozenset[str]:
    """Operators whose outputs have the scale of their input, as ai-edge-quantizer has it."""
    constraint = OpQuantConstraint.SAME_AS_INPUT_SCALE
    return frozenset(map(str, constrained_ops_utils.get_constrained_op_list(constraint)))


def _pass_on(operator: Operator, known: dict[str, Range]) -> tuple[str, ...]:
    """Set ranges that follow from the operator, not from what was seen; the names."""
    data = _data(operator, known)
    if operator.code in FIXED:
        known.update(dict.fromkeys(operator.outputs, FIXED[operator.code]))
    elif SURROGATES.get(operator.code, operator.code) in _same_as_input() and data in known:
        known.update(dict.fromkeys(operator.outputs, known[data]))
    else:
        return ()
    return operator.outputs


def _data(operator: Operator, known: Mapping[str, Range]) -> str:
    """The first input whose range is known; the output's name if there is none."""
    return next((name for name in operator.inputs if name in known), operator.name)


def _step(range_: Range, activations: str) -> float:
    """The scale of an activation."""
    if activations == "int16":
        return max(range_.largest, 1e-9) / _STEPS[activations]
    return max(max(range_.high, 0.0) - min(range_.low, 0.0), 1e-9) / _STEPS[activations]


def _fit(
    weights: Weights, step: float, dtype: str, constants: Mapping[str, Floats]
) -> Floats | None:
    """The greatest absolute weight that each channel must be able to hold; None where it is what is there."""
    value = constants[weights.tensor]
    axes = tuple(axis for axis in range(value.ndim) if axis != weights.output_axis)
    largest = np.abs(value).max(axis=axes, keepdims=True)
    wanted = np.where(largest == 0, largest.max() or 1.0, largest)
    least = np.abs(constants[weights.bias]) / (step * _LARGEST_BIAS) * _WEIGHT_STEPS[dtype]
    wanted = np.maximum(wanted, least.reshape(wanted.shape))
    return None if np.array_equal(wanted, largest) else wanted.astype(np.float32)
