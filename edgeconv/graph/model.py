"""Tensors, nodes and graphs. Mutable on purpose: passes rewrite them in place, the checker guards the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import Size
from edgeconv.errors import counted
from edgeconv.graph.quantization import Quantization
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["Attribute", "Constant", "Graph", "GraphError", "Node", "Source", "Tensor"]

Constant: TypeAlias = NDArray[np.generic]


class GraphError(Exception):
    """A graph is malformed: a bug in a lowering or a pass, never the user's mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where something came from in the user's program.

    Attributes:
        node: Name of the node in the exported program.
        module: Dotted path of the module, such as `features.3.conv`.
        line: `file.py:12 in forward`, the user's own line.
    """

    node: str
    module: str = ""
    line: str = ""

    def parts(self) -> tuple[str, ...]:
        """What is known of it, the node first."""
        return tuple(part for part in (self.node, self.module, self.line) if part)

    def __str__(self) -> str:
        return " ".join(self.parts())


@dataclass(slots=True, eq=False, kw_only=True)
class Tensor:
    """A value of the graph; tensors are compared by identity.

    A constant's array may be a view of the module's own weights: it is never written to.

    Attributes:
        name: Unique in the graph.
        dtype: Of its values.
        shape: Sizes of its axes.
        constant: Its value, where that is known.
        source: Where it came from.
        quantization: The integers that the values of a float32 constant stand for. A writer gives it to tensors of integers,
            too.
    """

    name: str
    dtype: DType
    shape: tuple[Size, ...]
    constant: Constant | None = None
    source: Source | None = None
    quantization: Quantization | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        """Whether its value is known."""
        return self.constant is not None

    def __repr__(self) -> str:
        return f"{self.name}:{self.dtype}[{','.join(str(size) for size in self.shape)}]"


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """One operator: what it reads, what it makes, and its attributes. A missing optional input is None."""

    op: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    source: Source | None = None

    @property
    def output(self) -> Tensor:
        """The only output.

        Raises:
            GraphError: It has several.
        """
        if len(self.outputs) != 1:
            raise GraphError(f"'{self.op}' has {counted(len(self.outputs), 'output')}")
        return self.outputs[0]

    def input(self, index: int) -> Tensor:
        """An input that must be there.

        Raises:
            GraphError: It is missing.
        """
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise GraphError(f"'{self.op}' lacks input {index}")
        return tensor

    def flag(self, name: str) -> bool:
        """A boolean attribute."""
        return bool(self.attributes[name])

    def integer(self, name: str) -> int:
        """An integer attribute.

        Raises:
            GraphError: It is no integer.
        """
        value = self.attributes[name]
        if not isinstance(value, int):
            raise GraphError(f"'{self.op}' attribute {name} is {value!r}, not an integer")
        return value

    def real(self, name: str) -> float:
        """A number attribute.

        Raises:
            GraphError: It is no number.
        """
        value = self.attributes[name]
        if not isinstance(value, int | float):
            raise GraphError(f"'{self.op}' attribute {name} is {value!r}, not a number")
        return float(value)

    def text(self, name: str) -> str:
        """A string attribute."""
        return str(self.attributes[name])

    def sizes(self, name: str) -> tuple[Size, ...]:
        """An attribute that is a list of sizes.

        Raises:
            GraphError: It is no list.
        """
        value = self.attributes[name]
        if not isinstance(value, tuple):
            raise GraphError(f"'{self.op}' attribute {name} is {value!r}, not a list of sizes")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """An attribute that is a list of integers.

        Raises:
            GraphError: One of them depends on a dynamic dim.
        """
        values = self.sizes(name)
        if not all(isinstance(value, int) for value in values):
            raise GraphError(f"'{self.op}' attribute {name} is dynamic: {values!r}")
        return tuple(value for value in values if isinstance(value, int))

    def subgraph(self, name: str) -> Graph:
        """An attribute that is a graph: the body or condition of a loop.

        Raises:
            GraphError: It is no graph.
        """
        value = self.attributes[name]
        if not isinstance(value, Graph):
            raise GraphError(f"'{self.op}' attribute {name} is no graph")
        return value


@dataclass(slots=True, eq=False, kw_only=True)
class Graph:
    """A program: inputs, nodes in an order in which they can run, outputs, and the named dynamic dims."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    nodes: list[Node]
    dims: tuple[Dim, ...] = ()

    def signature(self) -> Signature:
        """Names, dtypes and shapes of its inputs and outputs."""
        inputs, outputs = (
            tuple(TensorSpec(name=t.name, dtype=t.dtype, shape=t.shape) for t in tensors)
            for tensors in (self.inputs, self.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs, dims=self.dims)

    def producers(self) -> dict[Tensor, Node]:
        """The node that makes each tensor."""
        return {tensor: node for node in self.nodes for tensor in node.outputs}

    def consumers(self) -> dict[Tensor, list[Node]]:
        """The nodes that read each tensor, once for each time they read it; graph outputs are not counted."""
        readers: dict[Tensor, list[Node]] = {}
        for node in self.nodes:
            for tensor in node.inputs:
                if tensor is not None:
                    readers.setdefault(tensor, []).append(node)
        return readers

    def constants(self) -> list[Tensor]:
        """Every constant that a node or an output reads, once, in order of first use; not those of subgraphs."""
        read = [tensor for node in self.nodes for tensor in node.inputs if tensor is not None]
        return list(dict.fromkeys(t for t in (*read, *self.outputs) if t.is_constant))

    def subgraphs(self) -> Iterator[Graph]:
        """The graphs inside loops and branches, outermost first."""
        for node in self.nodes:
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield value
                    yield from value.subgraphs()

    def sources(self) -> dict[str, str]:
        """Where operators came from in the user's program, by what their names begin with, up to the first slash.

        Node, module and line, as far as they are known, with commas between them.
        """
        found: dict[str, str] = {}
        for node in self.nodes:
            if node.source is not None:
                where = ", ".join(node.source.parts())
                found |= {t.name.partition("/")[0]: where for t in node.outputs}
        return found

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Make everything that reads `old` read `new`, graph outputs included."""
        for node in self.nodes:
            node.inputs = [new if tensor is old else tensor for tensor in node.inputs]
        self.outputs = [new if tensor is old else tensor for tensor in self.outputs]

    def remove_dead_nodes(self) -> int:
        """Drop nodes whose outputs nobody reads.

        Returns:
            The number of nodes dropped.
        """
        alive = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(tensor in alive for tensor in node.outputs):
                alive.update(tensor for tensor in node.inputs if tensor is not None)
                kept.append(node)
        dropped = len(self.nodes) - len(kept)
        self.nodes = kept[::-1]
        return dropped


Attribute: TypeAlias = "bool | int | float | str | DType | Size | tuple[Size, ...] | Graph"
