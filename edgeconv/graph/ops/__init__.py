"""The operators of the edge graph: their inputs, attributes, and how shapes and dtypes follow from them."""

from __future__ import annotations

from functools import cache

from edgeconv.graph.ops import (
    channels_first,
    control,
    elementwise,
    matrix,
    quantization,
    reduction,
    selection,
    shaping,
    spatial,
)
from edgeconv.graph.ops.spec import OpSpec, TensorType

__all__ = ["OpSpec", "TensorType", "find_op", "list_ops"]

_FAMILIES = (
    channels_first,
    control,
    elementwise,
    matrix,
    quantization,
    reduction,
    selection,
    shaping,
    spatial,
)


@cache
def list_ops() -> dict[str, OpSpec]:
    """Every operator by name."""
    table: dict[str, OpSpec] = {}
    for family in _FAMILIES:
        for spec in family.OPS:
            if spec.name in table:
                raise ValueError(f"operator '{spec.name}' is declared twice")
            table[spec.name] = spec
    return table


def find_op(name: str) -> OpSpec:
    """The operator with this name.

    Raises:
        GraphError: There is none.
    """
    from edgeconv.graph.model import GraphError

    try:
        return list_ops()[name]
    except KeyError:
        raise GraphError(f"unknown operator '{name}'") from None
