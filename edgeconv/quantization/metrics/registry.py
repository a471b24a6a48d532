"""Metrics by name, and a user's own by its function."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.formats.handler import Array
from edgeconv.quantization.metrics.classification import TOP1, TOP5
from edgeconv.quantization.metrics.detection import MAP
from edgeconv.quantization.metrics.fidelity import AGREEMENT, COSINE, MSE
from edgeconv.quantization.metrics.ranking import AUC
from edgeconv.quantization.metrics.spec import Evaluated, Metric

__all__ = ["AGREEMENT", "METRICS", "choose_metric", "find_metric"]

METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (TOP1, TOP5, MAP, AUC, MSE, COSINE, AGREEMENT)}
)
"""Every metric, by name."""


def find_metric(name: str) -> Metric:
    """A metric by its name, or a user's own as `package.module:function`.

    The function receives `outputs`, a mapping from output name to an array of all samples, and everything in the data that
    is no input, each under its own name; it returns a number of which more is better.

    Raises:
        UsageError: There is none of this name, or no such function.
    """
    if name in METRICS:
        return METRICS[name]
    module, found, function = name.partition(":")
    if not found:
        raise UsageError(
            f"there is no metric '{name}'",
            hint="use one of: "
            + ", ".join(METRICS)
            + "; or one of your own: package.module:function",
        )
    try:
        called = getattr(importlib.import_module(module), function)
    except Exception as error:  # a user's module may raise anything when imported
        raise UsageError(
            f"metric '{name}' cannot be loaded",
            why=f"{type(error).__name__}: {error}",
            hint="write package.module:function, of a module in this folder or one that is installed",
        ) from error
    if not callable(called):
        raise UsageError(
            f"metric '{name}' is no function",
            why=f"it is a {type(called).__name__}",
            hint="name a function of the outputs that returns a number",
        )
    return Metric(name=name, measure=lambda evaluated: _call(name, called, evaluated))


def choose_metric(name: str, extras: Collection[str], python_path: Sequence[str]) -> Metric:
    """The metric that was asked for; else top-1 where the data has labels, and without them the agreement with the float model.

    Args:
        name: Its name; empty for what fits the data.
        extras: What the data holds besides inputs.
        python_path: Where a metric of the user's own is found.

    Raises:
        UsageError: There is none of this name, or no such function.
    """
    sys.path[:0] = [entry for entry in python_path if entry not in sys.path]
    if name:
        return find_metric(name)
    return TOP1 if "label" in extras else AGREEMENT


def _call(name: str, function: Callable[..., object], evaluated: Evaluated) -> float:
    try:
        figure = function(dict(evaluated.outputs), **_wanted_extras(function, evaluated.extras))
    except Exception as error:  # a user's function may raise anything
        raise InvalidInputError(
            f"metric '{name}' failed",
            why=f"{type(error).__name__}: {error}",
            hint="it is called with a mapping from output name to array, and those of its other parameters"
            f" are filled that the data names: {', '.join(sorted(evaluated.extras)) or 'none'}",
        ) from error
    try:
        return float(figure)  # type: ignore[arg-type]  # told below where it is none
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"metric '{name}' returned no number",
            why=f"it returned a {type(figure).__name__}",
            hint="return one number, of which more is better",
        ) from error


def _wanted_extras(
    function: Callable[..., object], extras: Mapping[str, Array]
) -> dict[str, Array]:
    """What a function takes of what is no input."""
    takes = inspect.signature(function).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    return {name: values for name, values in extras.items() if takes_all or name in takes}
