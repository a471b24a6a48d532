"""How an operator is declared, and the shape arithmetic that declarations share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from edgeconv.dims import Size, is_static
from edgeconv.graph.model import Attribute, GraphError, Node, Tensor
from edgeconv.signature import DType

__all__ = [
    "OpSpec",
    "Shape",
    "TensorType",
    "broadcast_shapes",
    "expect",
    "normalize_axis",
    "same_as",
    "shapes_agree",
]

Shape: TypeAlias = tuple[Size, ...]
TensorType: TypeAlias = tuple[DType, Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSpec:
    """One operator.

    Attributes:
        name: As in the TFLite schema, or a documented composite.
        arity: Fewest and most inputs; the most is None for any number.
        infer: Dtype and shape of every output, from the node's inputs and attributes.
        attributes: Defaults; an attribute that is not here is not allowed.
        required: Attributes that have no default.
        is_agnostic: Whether permuting all inputs alike permutes the outputs alike (elementwise).
        is_composite: Whether TFLite has no builtin for it, so that it must be legalized there.
    """

    name: str
    arity: tuple[int, int | None]
    infer: Callable[[Node], list[TensorType]]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    is_agnostic: bool = False
    is_composite: bool = False


def expect(condition: bool, node: Node, problem: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Refuse a node that breaks a rule of its operator.

    Raises:
        GraphError: The condition is false.
    """
    if not condition:
        inputs = ", ".join(repr(tensor) for tensor in node.inputs)
        raise GraphError(f"'{node.op}'({inputs}) {node.attributes}: {problem}")


def normalize_axis(axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        GraphError: It is out of range.
    """
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} is out of range for rank {rank}")
    return axis % rank


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape by NumPy's rule; a dynamic size is taken to equal any size other than 1.

    Raises:
        GraphError: The shapes do not fit.
    """
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(_broadcast_size([shape[axis] for shape in padded]) for axis in range(rank))


def _broadcast_size(sizes: list[Size]) -> Size:
    others = list(dict.fromkeys(size for size in sizes if size != 1))
    if not others:
        return 1
    static = [size for size in others if isinstance(size, int)]
    if len(static) > 1:
        raise GraphError(f"sizes {static} do not broadcast")
    return static[0] if static else others[0]


def shapes_agree(left: Shape, right: Shape) -> bool:
    """Whether two shapes can be the same: static sizes must be equal, dynamic ones may differ in form."""
    if len(left) != len(right):
        return False
    return all(a == b or not is_static((a, b)) for a, b in zip(left, right, strict=True))


def same_as(index: int) -> Callable[[Node], list[TensorType]]:
    """Infer one output with the dtype and shape of an input."""

    def infer(node: Node) -> list[TensorType]:
        tensor: Tensor = node.input(index)
        return [(tensor.dtype, tensor.shape)]

    return infer
