"""The lowerings of PyTorch's operators, one file per family."""

from __future__ import annotations

from functools import cache

from edgeconv.lowering.families import (
    activation,
    adaptive,
    arithmetic,
    attention,
    bessel,
    bits,
    comparison,
    complex_numbers,
    convolution,
    creation,
    distance,
    einsum,
    embedding,
    float_parts,
    incomplete_gamma,
    indexing,
    linear,
    normalization,
    orthogonal,
    orthogonal_polynomials,
    pool_places,
    pooling,
    powers,
    recurrent,
    reduction,
    resize,
    sampling,
    scan,
    scatter,
    scatter_reduction,
    shaping,
    slicing,
    sorting,
    special,
    spectral,
    spectrum,
    systems,
    transcendental,
    transposed,
    triangular,
    view_scatter,
    zeta,
)
from edgeconv.lowering.registry import LoweringRegistry

__all__ = ["built_in_registry"]


@cache
def built_in_registry() -> LoweringRegistry:
    """All lowerings that ship with edgeconv."""
    return LoweringRegistry.from_modules(
        (
            activation,
            adaptive,
            arithmetic,
            attention,
            bessel,
            bits,
            comparison,
            complex_numbers,
            convolution,
            creation,
            distance,
            einsum,
            embedding,
            float_parts,
            incomplete_gamma,
            indexing,
            linear,
            normalization,
            orthogonal,
            orthogonal_polynomials,
            pool_places,
            pooling,
            powers,
            recurrent,
            reduction,
            resize,
            sampling,
            scan,
            scatter,
            scatter_reduction,
            shaping,
            slicing,
            sorting,
            special,
            spectral,
            spectrum,
            systems,
            transcendental,
            transposed,
            triangular,
            view_scatter,
            zeta,
        )
    )
