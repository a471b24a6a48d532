"""Integers that stand for real numbers: what the inputs and outputs of quantized files may be made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["IO_ENTRY", "Affine", "parse_affines"]

IO_ENTRY = "edgeconv.io_quantization"
"""Metadata of ONNX files: for each integer input and output its scale and zero point, real = scale * (integer - zero_point)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """What number an integer stands for: scale * (integer - zero_point)."""

    scale: float
    zero_point: int

    def real(self, integers: Array) -> NDArray[np.float32]:
        """The numbers that integers stand for."""
        import numpy as np

        steps = integers.astype(np.float32) - np.float32(self.zero_point)
        with np.errstate(over="ignore"):
            return steps * np.float32(self.scale)

    def quantize(self, numbers: Array, dtype: DTypeLike) -> Array:
        """The nearest integers of a dtype."""
        import numpy as np

        steps = np.rint(numbers.astype(np.float32) / np.float32(self.scale)) + self.zero_point
        bounds = np.iinfo(np.dtype(dtype))
        integers: Array = np.clip(steps, bounds.min, bounds.max).astype(dtype)
        return integers


def parse_affines(text: str) -> dict[str, Affine]:
    """What stands under `IO_ENTRY`, by input and output name; empty where nothing does.

    Raises:
        ValueError: It is something else.
    """
    try:
        stored: dict[str, dict[str, float]] = json.loads(text) if text else {}
        return {
            name: Affine(scale=float(value["scale"]), zero_point=int(value["zero_point"]))
            for name, value in stored.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no scales of inputs and outputs: {error}") from error
