"""Builds a graph operator by operator; shapes and dtypes follow from the operators themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.graph.model import Attribute, Constant, Graph, GraphError, Node, Source, Tensor
from edgeconv.graph.ops import find_op
from edgeconv.graph.ops.spec import OpSpec
from edgeconv.signature import Dim, DType

__all__ = ["Builder", "make_node"]


def make_node(
    op: str,
    inputs: Sequence[Tensor | None],
    *,
    names: Sequence[str],
    attributes: dict[str, Attribute] | None = None,
    source: Source | None = None,
) -> Node:
    """A node with defaults filled in and its outputs inferred; `names` are those of the outputs.

    Raises:
        GraphError: The inputs or attributes break the operator's rules.
    """
    spec = find_op(op)
    node = Node(
        op=op,
        inputs=list(inputs),
        outputs=[],
        attributes=_complete(spec, attributes or {}),
        source=source,
    )
    if len(inputs) < spec.arity[0] or len(inputs) > (spec.arity[1] or len(inputs)):
        raise GraphError(f"'{op}' takes {spec.arity} inputs, not {len(inputs)}")
    for index, (dtype, shape) in enumerate(spec.infer(node)):
        name = names[index] if index < len(names) else f"{names[0]}_{index}"
        node.outputs.append(Tensor(name=name, dtype=dtype, shape=shape, source=source))
    return node


def _complete(spec: OpSpec, given: dict[str, Attribute]) -> dict[str, Attribute]:
    unknown = [name for name in given if name not in spec.attributes and name not in spec.required]
    missing = [name for name in spec.required if name not in given]
    if unknown or missing:
        raise GraphError(f"'{spec.name}': unknown attributes {unknown}, missing {missing}")
    return {**spec.attributes, **given}


class Builder:
    """Appends operators to a graph; `source` is set on whatever is appended, and names in `taken` are not given."""

    def __init__(self, name: str, dims: tuple[Dim, ...] = (), taken: Iterable[str] = ()) -> None:
        self.graph = Graph(name=name, inputs=[], outputs=[], nodes=[], dims=dims)
        self.source: Source | None = None
        self.prefix = ""
        self._taken = set(taken)
        self._named: set[Tensor] = set()

    def unique_name(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2`, … when it is taken."""
        name, count = wish, 0
        while name in self._taken:
            count += 1
            name = f"{wish}_{count}"
        self._taken.add(name)
        return name

    def input(self, name: str, dtype: DType, shape: tuple[Size, ...]) -> Tensor:
        """Declare the next graph input."""
        tensor = Tensor(name=self.unique_name(name), dtype=dtype, shape=shape)
        self.graph.inputs.append(tensor)
        return tensor

    def constant(self, value: Constant, name: str = "") -> Tensor:
        """A known tensor; the array is kept as it is, not copied. Its name is made unique when something reads it."""
        return Tensor(
            name=name or f"{self.prefix or 'value'}/constant",
            dtype=DType(value.dtype.name),
            shape=tuple(value.shape),
            constant=value,
            source=self.source,
        )

    def scalar(self, value: float, dtype: DType) -> Tensor:
        """A known scalar; an integer beyond its range wraps around, as PyTorch's do."""
        return self.constant(np.asarray(value).astype(numpy_dtype(dtype)))

    def op(self, name: str, *inputs: Tensor | None, **attributes: Attribute) -> Tensor:
        """Append an operator with one output.

        Returns:
            The output, its dtype and shape inferred.

        Raises:
            GraphError: The inputs or attributes break the operator's rules.
        """
        return self.node(name, inputs, **attributes).output

    def node(self, name: str, inputs: Sequence[Tensor | None], **attributes: Attribute) -> Node:
        """Append an operator with any number of outputs."""
        for tensor in inputs:
            if tensor is not None and tensor.is_constant and tensor not in self._named:
                tensor.name = self.unique_name(tensor.name)
                self._named.add(tensor)
        wish = f"{self.prefix}/{name.lower()}" if self.prefix else name.lower()
        node = make_node(
            name,
            inputs,
            names=[self.unique_name(wish)],
            attributes=attributes,
            source=self.source,
        )
        for extra in node.outputs[1:]:
            extra.name = self.unique_name(extra.name)
        self.graph.nodes.append(node)
        return node

    def cast(self, x: Tensor, dtype: DType) -> Tensor:
        """`x` in a dtype; nothing is added when it has it already."""
        if x.dtype == dtype:
            return x
        if x.constant is not None:
            return self.constant(x.constant.astype(numpy_dtype(dtype)))
        return self.op("CAST", x, dtype=dtype.value)

    def broadcast(self, x: Tensor, shape: Sequence[Size]) -> Tensor:
        """`x` repeated to a shape."""
        if x.shape == tuple(shape):
            return x
        return self.op("BROADCAST_TO", x, shape=tuple(shape))

    def polynomial(self, x: Tensor, coefficients: Sequence[float]) -> Tensor:
        """The value of a polynomial whose highest power comes first."""
        total = self.scalar(coefficients[0], x.dtype)
        for coefficient in coefficients[1:]:
            total = self.op("ADD", self.op("MUL", total, x), self.scalar(coefficient, x.dtype))
        return total
