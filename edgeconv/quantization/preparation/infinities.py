"""Makes constants that stand for minus infinity finite: one of them in a range leaves no step for anything else.

Masks of attention and the padding of maximum pooling hold -inf, or the least number there is. What matters is only that
they lie below everything that was seen: exp(-20) is 2e-9, which no integer of eight bits tells from zero.
"""

from __future__ import annotations

import numpy as np

from edgeconv.plugin.quantizer import FloatModel
from edgeconv.quantization.calibration import Statistics

__all__ = ["bound_infinities"]

_HUGE = 1e9
_FAR = 20.0


def bound_infinities(model: FloatModel, statistics: Statistics) -> int:
    """Bring huge constants near the values that the same operator reads.

    Args:
        model: Its constants are changed.
        statistics: What was seen of its activations.

    Returns:
        How many constants were changed.
    """
    changed = 0
    for operator in model.operators:
        seen = [statistics.histograms[n] for n in operator.inputs if n in statistics.histograms]
        largest = max((max(-h.low, h.high, 0.0) for h in seen if not h.is_empty), default=0.0)
        for name in operator.inputs:
            value = model.constant(name) if name else None
            if value is None or value.dtype.kind != "f" or not (np.abs(value) > _HUGE).any():
                continue
            limit = largest + _FAR
            bounded = np.where(np.abs(value) > _HUGE, np.sign(value) * limit, value)
            model.set_constant(name, bounded.astype(value.dtype))
            changed += 1
    return changed
