"""All that the author of a lowering imports; a plug-in's lowerings are registered under `edgeconv.lowerings`."""

from __future__ import annotations

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import Lowering, lower

__all__ = ["CannotLowerError", "Lowering", "LoweringBuilder", "Size", "Tensor", "lower"]
