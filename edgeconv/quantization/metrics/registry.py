"""Metrics by name, and a user's own by its function."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.quantization.metrics.classification import TOP1, TOP5
from edgeconv.quantization.metrics.detection import MAP
from edgeconv.quantization.metrics.fidelity import AGREEMENT, COSINE, MSE
from edgeconv.quantization.metrics.ranking import AUC
from edgeconv.quantization.metrics.spec import Evaluated, Metric

__all__ = ["AGREEMENT", "METRICS", "find_metric"]

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
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"metric '{name}' cannot be loaded",
            why=str(error),
            hint="check the spelling and PYTHONPATH",
        ) from error
    if not callable(called):
        raise UsageError(f"metric '{name}' is no function", why=f"it is {called!r}")
    return Metric(name=name, measure=lambda evaluated: _call(name, called, evaluated))


def _call(name: str, function: Callable[..., object], evaluated: Evaluated) -> float:
    takes = inspect.signature(function).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    extras = {key: value for key, value in evaluated.extras.items() if takes_all or key in takes}
    try:
        figure = function(dict(evaluated.outputs), **extras)
    except Exception as error:  # a user's function may raise anything
        raise InvalidInputError(
            f"metric '{name}' failed", why=f"{type(error).__name__}: {error}"
        ) from error
    try:
        return float(figure)  # type: ignore[arg-type]  # told below where it is none
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"metric '{name}' returned no number", why=f"it returned {figure!r}"
        ) from error
