"""Brings together what a file itself declares and what edgeconv's record in it says.

The file has the last word on dtypes, ranks and fixed sizes, so that a converter that narrows int64 or fixes a dim
is found. The record adds what the format cannot say: the order, and the names and ranges of dims.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from edgeconv.signature import Signature, TensorSpec

__all__ = ["merge_signatures", "new_dim_name", "with_layouts"]


def merge_signatures(declared: Signature, stored: Signature) -> Signature:
    """Order and dims as stored, dtypes and fixed sizes as declared; other names or ranks show as declared."""
    if not (
        _are_alike(declared.inputs, stored.inputs) and _are_alike(declared.outputs, stored.outputs)
    ):
        return declared
    return Signature(
        inputs=_merge_specs(declared.inputs, stored.inputs),
        outputs=_merge_specs(declared.outputs, stored.outputs),
        dims=stored.dims,
    )


def with_layouts(declared: Sequence[TensorSpec], stored: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Specs as declared, with the layouts of those that are stored under the same name with as many axes."""
    known = {(spec.name, len(spec.shape)): spec.layout for spec in stored}
    return [
        replace(spec, layout=known.get((spec.name, len(spec.shape)), spec.layout))
        for spec in declared
    ]


def new_dim_name(name: str, axis: int) -> str:
    """What the dynamic size of one axis is called where the file has no name for it."""
    safe = re.sub(r"\W", "_", f"{name}_{axis}", flags=re.ASCII)
    return safe if safe.isidentifier() else f"dim_{safe}"


def _are_alike(declared: Sequence[TensorSpec], stored: Sequence[TensorSpec]) -> bool:
    return {(s.name, len(s.shape)) for s in declared} == {(s.name, len(s.shape)) for s in stored}


def _merge_specs(
    declared: Sequence[TensorSpec], stored: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    by_name = {spec.name: spec for spec in declared}
    return tuple(_merge_spec(by_name[spec.name], spec) for spec in stored)


def _merge_spec(declared: TensorSpec, stored: TensorSpec) -> TensorSpec:
    shape = tuple(
        real if isinstance(real, int) else named
        for real, named in zip(declared.shape, stored.shape, strict=True)
    )
    return TensorSpec(name=stored.name, dtype=declared.dtype, shape=shape, layout=stored.layout)
