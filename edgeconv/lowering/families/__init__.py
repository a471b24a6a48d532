"""The lowerings of PyTorch's operators, one file per family."""

from __future__ import annotations

from functools import cache

from edgeconv.lowering.families import (
    activation,
    arithmetic,
    attention,
    bits,
    comparison,
    convolution,
    creation,
    embedding,
    indexing,
    linear,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    scan,
    scatter,
    shaping,
    slicing,
    sorting,
    spectrum,
    transcendental,
)
from edgeconv.lowering.registry import LoweringRegistry

__all__ = ["built_in_registry"]


@cache
def built_in_registry() -> LoweringRegistry:
    """All lowerings that ship with edgeconv."""
    return LoweringRegistry.from_modules(
        (
            activation,
            arithmetic,
            attention,
            bits,
            comparison,
            convolution,
            creation,
            embedding,
            indexing,
            linear,
            normalization,
            pooling,
            recurrent,
            reduction,
            resize,
            scan,
            scatter,
            shaping,
            slicing,
            sorting,
            spectrum,
            transcendental,
        )
    )
