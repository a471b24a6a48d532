"""TFLite through TensorFlow's own converter, from a SavedModel: the third route."""

from __future__ import annotations

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="tflite-converter",
    version="1",
    kind="convert",
    source="savedmodel",
    target="tflite",
    summary="tf.lite.TFLiteConverter, the third route to TFLite; builtin operators only",
    entry="edgeconv_converters.tflite_converter.worker:convert",
    lane="tensorflow",
    cost=Cost(fidelity=1, install_bytes=1_600_000_000, seconds=4.0),
    warm=("tensorflow",),
    requires=("tensorflow", "ai_edge_litert"),
    extra="tensorflow,tflite",
)
