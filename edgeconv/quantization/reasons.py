"""Why operators of a quantized file are not in the precision of its recipe, where the library does not say."""

from __future__ import annotations

from edgeconv.plugin.quantizer import FLOAT32
from edgeconv.quantization.candidates import Candidate
from edgeconv.quantization.plans import resolve, with_source
from edgeconv.quantization.preparing import Prepared
from edgeconv.quantization.request import QuantizationRequest

__all__ = ["find_reasons"]

_OVERRIDDEN = "an override asks for it"
_SAVED = "the saved recipe asks for it"
_SPLIT = "it joins outputs whose ranges lie far apart: the step 'split' keeps it"
_RUNNING = "no static kernel takes it: quantized while it runs"
_BUDGET = "with fewer bits the model would not keep within the budget"


def find_reasons(
    request: QuantizationRequest, prepared: Prepared, candidate: Candidate
) -> dict[str, str]:
    """By operator name, the library's reasons and those of the user, the preparation and the search."""
    plan, file, model = candidate.plan, candidate.file, prepared.model
    operators = [with_source(one, request.sources) for one in model.operators]
    overridden = resolve(operators, request.overrides)
    found = dict(file.reasons)
    for name, precision in plan.operators.items():
        if name in found or precision == plan.default:
            continue
        if name in overridden:
            found[name] = _SAVED if request.is_settled else _OVERRIDDEN
        elif name in prepared.operators:
            found[name] = _SPLIT if precision == FLOAT32 else _RUNNING
        else:
            found[name] = _BUDGET
    return found
