"""What a translation of an operator is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from edgeconv.dims import Size
from edgeconv.graph import Graph, GraphError, Node
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.emitter import Emitter
from edgeconv_converters.edge_graph_onnx.sizes import Sizes

__all__ = ["Call", "GraphWriter", "Translation"]


GraphWriter: TypeAlias = "Callable[[Graph, Sequence[str], Emitter], list[str]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operator to translate.

    Attributes:
        node: The operator, with its attributes.
        inputs: Names of its inputs; empty where an optional one is missing.
        emitter: Where nodes are appended.
        sizes: Evaluates attributes that depend on dynamic dims.
        write_graph: Writes a graph that is an attribute with these inputs into an emitter; gives its outputs.
    """

    node: Node
    inputs: tuple[str, ...]
    emitter: Emitter
    sizes: Sizes
    write_graph: GraphWriter

    def input(self, index: int) -> str:
        """The name of an input that must be there.

        Raises:
            GraphError: It is missing.
        """
        name = self.inputs[index] if index < len(self.inputs) else ""
        if not name:
            raise GraphError(f"'{self.node.op}' lacks input {index}")
        return name

    def optional(self, index: int) -> tuple[str, ...]:
        """The name of an input, or nothing."""
        return self.inputs[index : index + 1] if any(self.inputs[index : index + 1]) else ()

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        """Append an ONNX node with one output."""
        return self.emitter.op(op_type, *inputs, **attributes)

    @property
    def dtype(self) -> DType:
        """Of the first input."""
        return self.node.input(0).dtype

    def vector(self, attribute: str) -> str:
        """An attribute that is a list of sizes, as a vector."""
        return self.sizes.vector(self.node.sizes(attribute))

    def scalar(self, attribute: str) -> str:
        """An attribute that is a list of one size, as a scalar."""
        (size,) = self.node.sizes(attribute)
        return self.sizes.scalar(size)

    def integers_to(self, dtype: DType, index: int) -> str:
        """An input of integers in a dtype."""
        tensor = self.node.input(index)
        return (
            self.input(index)
            if tensor.dtype == dtype
            else self.emitter.cast(self.input(index), dtype)
        )

    def shape(self, sizes: Sequence[Size]) -> str:
        """A shape to give a tensor: with -1 where one size alone is dynamic, so that nothing is computed."""
        dynamic = [size for size in sizes if not isinstance(size, int)]
        if len(dynamic) == 1 and 0 not in sizes:
            return self.emitter.integers([s if isinstance(s, int) else -1 for s in sizes])
        return self.sizes.vector(sizes)


Translation: TypeAlias = Callable[[Call], "str | list[str]"]
"""Appends the nodes of an operator; gives the name of its output, or of each."""
