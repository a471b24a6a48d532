"""Quantizes ONNX files with ONNX Runtime's own tools, for its processor provider."""

from __future__ import annotations

from edgeconv.plugin.quantizer import QuantizerSpec

__all__ = ["SPEC"]

SPEC = QuantizerSpec(
    id="onnxruntime-quantization",
    version="1",
    format="onnx",
    summary="onnxruntime.quantization with edgeconv's ranges: quantize-dequantize pairs that ONNX Runtime fuses",
    entry="edgeconv_converters.onnxruntime_quantization.worker:open_model",
    recipes=(
        "fp16",
        "int8",
        "int8-dynamic",
        "int8-weights",
        "int16x8",
        "int4-weights",
        "int4-weights-b32",
        "int4-weights-b64",
        "int4-weights-b128",
        "int4-weights-b256",
    ),
    requires=("onnx", "onnxruntime"),
    extra="onnx",
)
