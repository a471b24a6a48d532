"""What is said of a file that is delivered, since no budget forbids it, and that has lost what the model is for."""

from __future__ import annotations

import math

from edgeconv.quantization.candidates import Budget, Candidate
from edgeconv.quantization.request import AUTO, STEPS, QuantizationRequest
from edgeconv.signature import DType

__all__ = ["find_alarm"]

_LOST_SHARE = 0.2
_FAINT_DB = 3.0  # half of the power is noise


def find_alarm(
    request: QuantizationRequest, recipe: str, budget: Budget | None, chosen: Candidate
) -> str:
    """What was lost, and what to do; empty where that is nothing to be alarmed by.

    Where there is a budget it says what may be lost, and where nothing is evaluated a ruined file is not delivered.
    """
    if budget is None or budget.max_drop is not None:
        return ""
    lost = _tell_loss(budget, chosen)
    return f"{lost}; {_advise(request, recipe)}" if lost else ""


def _tell_loss(budget: Budget, chosen: Candidate) -> str:
    name, before, after, drop = budget.metric.name, budget.before, chosen.score, chosen.drop
    if after is not None and not math.isfinite(after):
        return (
            f"{name} of the quantized model is no finite number: nothing is known of its accuracy"
        )
    if after is not None and drop is not None and drop > _most_drop(budget):
        return f"{name} fell from {before:.4g} to {after:.4g}"
    snr = chosen.snr_db
    if snr is not None and snr < _FAINT_DB:
        return (
            "the outputs have little in common with the float model's:"
            f" their signal-to-noise ratio is {snr:.1f} dB"
        )
    return ""


def _most_drop(budget: Budget) -> float:
    """Twenty points of a share, a fifth of another figure; a figure that is best at zero has no measure of its own."""
    if not budget.metric.is_higher_better:
        return math.inf
    return _LOST_SHARE if budget.metric.unit == "%" else _LOST_SHARE * abs(budget.before)


def _advise(request: QuantizationRequest, recipe: str) -> str:
    others = [one for one in ("int16x8", "int8-dynamic", "fp16") if one != recipe]
    advice = [
        "--max-drop with what may be lost (operators keep more bits then)",
        f"--recipe {' or '.join(others)}",
        "more --calibration data" if request.calibration else "--calibration with real inputs",
    ]
    if request.io != DType.FLOAT32:
        advice.insert(1, "--io float32")
    if request.observer != AUTO or request.steps != STEPS:
        advice.insert(1, "the defaults of --observer and --prepare (the best of several ways then)")
    return f"to lose less: {', '.join(advice[:-1])}, or {advice[-1]}"
