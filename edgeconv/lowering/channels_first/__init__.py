"""Lowerings for a writer that takes channels first: PyTorch's own forms, kept whole where ONNX has them whole.

What is not kept is lowered as for every writer. A lowering here returns None for what it leaves to the built-in one.
"""

from __future__ import annotations

from functools import cache

from edgeconv.lowering.channels_first import (
    elementwise,
    normalization,
    recurrent,
    selection,
    spatial,
)
from edgeconv.lowering.families import built_in_registry
from edgeconv.lowering.registry import LoweringRegistry

__all__ = ["channels_first_registry"]

_FAMILIES = (elementwise, normalization, recurrent, selection, spatial)


@cache
def channels_first_registry() -> LoweringRegistry:
    """The built-in lowerings, with those of this package first."""
    return built_in_registry().preferring(
        lowering for family in _FAMILIES for lowering in family.LOWERINGS
    )
