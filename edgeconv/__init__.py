"""Converts PyTorch models into verified artifacts for edge devices.

Names are resolved on first use (PEP 562): `import edgeconv` imports neither a framework nor NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeconv.api import capture as capture
    from edgeconv.api import convert as convert
    from edgeconv.api import load as load
    from edgeconv.api import validate as validate
    from edgeconv.api_quantization import quantize as quantize
    from edgeconv.artifact import Artifact as Artifact
    from edgeconv.errors import CaptureError as CaptureError
    from edgeconv.errors import ConversionError as ConversionError
    from edgeconv.errors import EdgeconvError as EdgeconvError
    from edgeconv.errors import InternalError as InternalError
    from edgeconv.errors import InvalidInputError as InvalidInputError
    from edgeconv.errors import MissingDependencyError as MissingDependencyError
    from edgeconv.errors import NoRouteError as NoRouteError
    from edgeconv.errors import OutputError as OutputError
    from edgeconv.errors import StepError as StepError
    from edgeconv.errors import UnsafeInputError as UnsafeInputError
    from edgeconv.errors import UnsupportedOperatorsError as UnsupportedOperatorsError
    from edgeconv.errors import UsageError as UsageError
    from edgeconv.errors import ValidationError as ValidationError
    from edgeconv.model import ConversionResult as ConversionResult
    from edgeconv.model import Model as Model
    from edgeconv.quantized_artifact import QuantizedArtifact as QuantizedArtifact
    from edgeconv.signature import Dim as Dim
    from edgeconv.signature import DType as DType
    from edgeconv.signature import Signature as Signature
    from edgeconv.signature import TensorSpec as TensorSpec
    from edgeconv.validation.verdict import Verdict as Verdict

_HOMES = {
    "Artifact": "edgeconv.artifact",
    "CaptureError": "edgeconv.errors",
    "ConversionError": "edgeconv.errors",
    "ConversionResult": "edgeconv.model",
    "DType": "edgeconv.signature",
    "Dim": "edgeconv.signature",
    "EdgeconvError": "edgeconv.errors",
    "InternalError": "edgeconv.errors",
    "InvalidInputError": "edgeconv.errors",
    "MissingDependencyError": "edgeconv.errors",
    "Model": "edgeconv.model",
    "NoRouteError": "edgeconv.errors",
    "OutputError": "edgeconv.errors",
    "QuantizedArtifact": "edgeconv.quantized_artifact",
    "Signature": "edgeconv.signature",
    "StepError": "edgeconv.errors",
    "TensorSpec": "edgeconv.signature",
    "UnsafeInputError": "edgeconv.errors",
    "UnsupportedOperatorsError": "edgeconv.errors",
    "UsageError": "edgeconv.errors",
    "ValidationError": "edgeconv.errors",
    "Verdict": "edgeconv.validation.verdict",
    "capture": "edgeconv.api",
    "convert": "edgeconv.api",
    "load": "edgeconv.api",
    "quantize": "edgeconv.api_quantization",
    "validate": "edgeconv.api",
}

__all__ = [
    "Artifact",
    "CaptureError",
    "ConversionError",
    "ConversionResult",
    "DType",
    "Dim",
    "EdgeconvError",
    "InternalError",
    "InvalidInputError",
    "MissingDependencyError",
    "Model",
    "NoRouteError",
    "OutputError",
    "QuantizedArtifact",
    "Signature",
    "StepError",
    "TensorSpec",
    "UnsafeInputError",
    "UnsupportedOperatorsError",
    "UsageError",
    "ValidationError",
    "Verdict",
    "capture",
    "convert",
    "load",
    "quantize",
    "validate",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeconv' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
