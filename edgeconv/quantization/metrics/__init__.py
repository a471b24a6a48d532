"""Metrics of accuracy, each in a file of its own."""

from __future__ import annotations

from edgeconv.quantization.metrics.registry import (
    AGREEMENT,
    METRICS,
    choose_metric,
    find_metric,
)
from edgeconv.quantization.metrics.spec import Evaluated, Metric

__all__ = ["AGREEMENT", "METRICS", "Evaluated", "Metric", "choose_metric", "find_metric"]
