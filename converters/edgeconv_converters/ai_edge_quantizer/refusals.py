"""Why an operator cannot be computed in a precision: no kernel, no weights, or weights that do not fall into blocks."""

from __future__ import annotations

from collections.abc import Callable

from edgeconv.plugin.quantizer import Operator, Precision
from edgeconv_converters.ai_edge_quantizer.halves import is_half_worthy
from edgeconv_converters.ai_edge_quantizer.policy import Policy, kind_of
from edgeconv_converters.ai_edge_quantizer.tables import Array

__all__ = ["refusal_of"]

Find = Callable[[str], Array | None]

_TABLES = {"EMBEDDING_LOOKUP": 1, "GATHER": 0}
"""Where operators that look rows up have their table."""


def refusal_of(policy: Policy, operator: Operator, precision: Precision, find: Find) -> str:
    """The reason; empty if there is none.

    Args:
        policy: Of the runtime.
        operator: The operator.
        precision: What it is to compute in.
        find: The value of a constant by name; None for an activation.
    """
    kind = kind_of(precision)
    if kind == "float32":
        return ""
    values = {name: find(name) for name in operator.inputs if name}
    if kind == "fp16":
        return _refuse_halves(values)
    weights = _weights(operator)
    value = values.get(weights)
    if not precision.is_static and (value is None or value.dtype != "float32"):
        return "it has no constant weights"
    refusal = policy.refusal(operator, precision)
    return refusal or ("" if operator.code == "GATHER" else _refuse_blocks(precision, value))


def _refuse_halves(values: dict[str, Array | None]) -> str:
    floats = [v for v in values.values() if v is not None and v.dtype == "float32"]
    if any(is_half_worthy(value) for value in floats):
        return ""
    return "it has no constants that half precision would make smaller, or can hold"


def _weights(operator: Operator) -> str:
    """The name of the weights; of a lookup's table too."""
    if operator.code in _TABLES:
        return operator.inputs[_TABLES[operator.code]]
    return operator.weights.tensor if operator.weights else ""


def _refuse_blocks(precision: Precision, weights: Array | None) -> str:
    count = 0 if weights is None else weights.shape[-1]
    if precision.block and count % precision.block:
        return f"its {count} inputs do not fall into blocks of {precision.block}"
    return ""
