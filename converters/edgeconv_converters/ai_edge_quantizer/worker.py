"""Opens a TFLite file to be quantized."""

from __future__ import annotations

from pathlib import Path

from edgeconv_converters.ai_edge_quantizer.float_model import LiteRtModel
from edgeconv_converters.ai_edge_quantizer.reading import read_float

__all__ = ["open_model"]


def open_model(path: Path) -> LiteRtModel:
    """Open a float TFLite file; it is read, never changed.

    Raises:
        InvalidInputError: It is damaged, quantized already, or larger than 2 GB.
    """
    return LiteRtModel(read_float(path))
