"""From a recipe and the user's overrides to the precision of every operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import FloatModel, Operator, Precision, QuantizationPlan, Range
from edgeconv.quantization.calibration import Statistics
from edgeconv.quantization.observers import Observer
from edgeconv.quantization.overrides import Override

__all__ = [
    "bits_by_tensor",
    "make_plan",
    "resolve",
    "with_source",
]

_BITS = {"int8": 8, "int16": 16}


def with_source(operator: Operator, sources: Mapping[str, str]) -> Operator:
    """An operator with the line of the user's program it came from, where that is known.

    Args:
        operator: Named by edgeconv's writers: the name of the node in the exported program, a slash, and what it is.
        sources: Lines by what names begin with.
    """
    found = sources.get(operator.name.partition("/")[0])
    return replace(operator, source=found) if found and not operator.source else operator


def resolve(operators: Sequence[Operator], overrides: Sequence[Override]) -> dict[str, Precision]:
    """The precision of each operator that an override matches; the last one that does decides.

    Raises:
        UsageError: One matches nothing.
    """
    found: dict[str, Precision] = {}
    for override in overrides:
        # The name of an operator means this one alone, whatever it is found in besides.
        matched = [one for one in operators if escape(one.name) == override.pattern]
        matched = matched or [one for one in operators if _matches(one, override.pattern)]
        if not matched:
            names = ", ".join(f"'{one.name}'" for one in operators[:8])
            raise UsageError(
                f"'{override.pattern}' matches no operator",
                why=f"the operators are named {names}{', …' if len(operators) > 8 else ''}",
                hint="the report of a run without overrides lists all names, and source lines where they are known",
            )
        found.update((one.name, override.precision) for one in matched)
    return found


def _matches(operator: Operator, pattern: str) -> bool:
    return any(
        text
        and (fnmatchcase(text, pattern) or any(fnmatchcase(word, pattern) for word in text.split()))
        for text in (operator.name, operator.source)
    )


def make_plan(
    precision: Precision,
    operators: Mapping[str, Precision],
    *,
    statistics: Statistics | None,
    observer: Observer,
    model: FloatModel,
) -> QuantizationPlan:
    """A plan with the ranges of all activations, if there are any statistics of them."""
    ranges: dict[str, Range] = {}
    plan = QuantizationPlan(default=precision, operators=operators)
    if statistics is not None:
        ranges = statistics.ranges(observer, bits_by_tensor(model, plan))
    return QuantizationPlan(default=precision, operators=operators, ranges=ranges)


def bits_by_tensor(model: FloatModel, plan: QuantizationPlan) -> dict[str, int]:
    """Bits of the integers that activations are stored as, by tensor."""
    return {
        name: _BITS.get(plan.precision_of(operator.name).activations, 8)
        for operator in model.operators
        for name in operator.outputs
    }
