"""SavedModel from a Keras file."""

from __future__ import annotations

from edgeconv.plugin import ConverterSpec, Cost

__all__ = ["SPEC"]

SPEC = ConverterSpec(
    id="keras-export",
    version="1",
    kind="convert",
    source="keras",
    target="savedmodel",
    summary="the Keras model as the function of a SavedModel, by its own input and output names",
    entry="edgeconv_converters.keras_export.worker:convert",
    lane="tensorflow",
    cost=Cost(fidelity=0, install_bytes=1_600_000_000, seconds=2.0),
    warm=("tensorflow",),
    requires=("tensorflow",),
    extra="tensorflow",
)
