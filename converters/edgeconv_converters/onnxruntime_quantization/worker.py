"""Where the quantizer is entered: a float ONNX file is opened."""

from __future__ import annotations

from pathlib import Path

from edgeconv.plugin.quantizer import FloatModel
from edgeconv_converters.onnxruntime_quantization.float_model import OnnxFloatModel
from edgeconv_converters.onnxruntime_quantization.opening import read_float_model

__all__ = ["open_model"]


def open_model(path: Path) -> FloatModel:
    """Open a float ONNX file, ours or another tool's.

    Raises:
        InvalidInputError: The file is damaged, too large, or quantized already; or ONNX Runtime refuses it.
    """
    return OnnxFloatModel(read_float_model(path))
