"""The plugin interface: all that the author of a converter, quantizer, device or target imports."""

from __future__ import annotations

from edgeconv.plugin.converter import ConverterSpec, Cost, EnvironmentSpec, Rejection
from edgeconv.plugin.extension import (
    LOWERINGS,
    ONNX_TRANSLATIONS,
    PLUGIN_OPERATORS,
    load_extensions,
)
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.plugin.quantizer import QuantizerSpec

__all__ = [
    "LOWERINGS",
    "ONNX_TRANSLATIONS",
    "PLUGIN_OPERATORS",
    "ConverterSpec",
    "Cost",
    "EnvironmentSpec",
    "Job",
    "JobResult",
    "Json",
    "QuantizerSpec",
    "Rejection",
    "load_extensions",
]
