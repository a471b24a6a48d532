"""What a translation of an operator is given and how it is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import tensorflow as tf

from edgeconv.dims import Size
from edgeconv.graph import Graph, GraphError, Node
from edgeconv_converters.edge_graph_savedmodel.sizes import Sizes

__all__ = ["Arrangement", "ArrayLibrary", "Call", "GraphRunner", "Translation"]

GraphRunner: TypeAlias = Callable[[Graph, Sequence[tf.Tensor]], list[tf.Tensor]]


class ArrayLibrary(Protocol):
    """What NumPy and TensorFlow both have: rearranges a constant once, or a computed tensor in the model."""

    def transpose(self, array: tf.Tensor, perm: Sequence[int]) -> tf.Tensor:
        """`array` with its axes in another order."""
        ...

    def reshape(self, array: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        """`array` in another shape."""
        ...


Arrangement: TypeAlias = Callable[[Node, tf.Tensor, ArrayLibrary], tf.Tensor]
"""Brings an input into the order of axes that TensorFlow's operator takes it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operator to translate.

    Attributes:
        node: The operator, with its attributes.
        inputs: Its inputs, in TensorFlow's order of axes; None where an optional one is missing.
        sizes: Evaluates attributes that depend on dynamic dims.
        run_graph: Translates a graph that is an attribute, such as a loop's body.
    """

    node: Node
    inputs: tuple[tf.Tensor | None, ...]
    sizes: Sizes
    run_graph: GraphRunner

    def input(self, index: int) -> tf.Tensor:
        """An input that must be there.

        Raises:
            GraphError: It is missing.
        """
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise GraphError(f"'{self.node.op}' lacks input {index}")
        return value

    def optional(self, index: int) -> tf.Tensor | None:
        """An input, or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def vector(self, attribute: str) -> list[int] | tf.Tensor:
        """An attribute that is a list of sizes, evaluated."""
        return self.sizes.vector(self.node.sizes(attribute))

    def scalar(self, attribute: str) -> int | tf.Tensor:
        """An attribute that is a list of one size, evaluated."""
        (size,) = self.node.sizes(attribute)
        return self.sizes.scalar(size)

    def shape(self, sizes: Sequence[Size]) -> list[int] | tf.Tensor:
        """A shape to give a tensor: with -1 where one size alone is dynamic, so that nothing is computed."""
        dynamic = [index for index, size in enumerate(sizes) if not isinstance(size, int)]
        if len(dynamic) == 1 and 0 not in sizes:
            return [size if isinstance(size, int) else -1 for size in sizes]
        return self.sizes.vector(sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """How an operator is written.

    Attributes:
        emit: Makes the TensorFlow operators; returns one tensor, or one for each output.
        arrange: By index of input: the order of axes TensorFlow wants.
    """

    emit: Callable[[Call], tf.Tensor | Sequence[tf.Tensor]]
    arrange: Mapping[int, Arrangement] = field(default_factory=dict)
