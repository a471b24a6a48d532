"""Quantizes TFLite files with ai-edge-quantizer, Google's library for LiteRT's kernels."""

from __future__ import annotations

from edgeconv.plugin.quantizer import QuantizerSpec

__all__ = ["SPEC"]

SPEC = QuantizerSpec(
    id="ai-edge-quantizer",
    version="1",
    format="tflite",
    summary="ai-edge-quantizer: TFLite files, for LiteRT's kernels",
    entry="edgeconv_converters.ai_edge_quantizer.worker:open_model",
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
    requires=("ai_edge_litert", "ai_edge_quantizer", "flatbuffers"),
    extra="tflite,quantize",
)
