"""Lets integer kernels compute what a model was trained to compute in integers.

A program that went through quantization-aware training says where its values are integers: float operators stand between
DEQUANTIZE and QUANTIZE. An operator whose inputs and output are such integers, and which has a kernel for them, becomes that
kernel, with the scales and zero points that were trained. What only moves values moves integers, which changes none. All else
stays in float, between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeconv.graph import Builder, Graph, Node, Tensor
from edgeconv.graph.quantization import Quantization
from edgeconv.passes.integer_offsets import store_integers_as
from edgeconv.plugin import Json
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.integer_kernels import (
    JOINING,
    MOVING,
    Constants8,
    find_integer_inputs,
    padding_value,
)

__all__ = ["Account", "compute_in_integers"]

_ENDS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(slots=True)
class Account:
    """What became of the operators of a program with trained scales, those that convert between float and integers left out.

    Attributes:
        integer: How many compute with integers.
        left: Of those that stay in float, how many of each.
    """

    integer: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Json]:
        """For the details of the step."""
        return {
            "integer_operators": self.integer,
            "float_operators": dict(sorted(self.left.items())),
        }


def compute_in_integers(graph: Graph) -> Account | None:
    """Rewrite a graph and those inside it, in place; None without trained scales, where all stays as it is."""
    parts = [graph, *graph.subgraphs()]
    if not any(node.op in _ENDS for part in parts for node in part.nodes):
        return None
    account = Account()
    for part in parts:
        store_integers_as(part, DType.INT8)  # which kernels are for
        rewriter = _Rewriter(part)
        rewriter.run()
        rewriter.count(account)
    return account


def _quantization_of(node: Node, dtype: DType) -> Quantization:
    return Quantization(
        dtype=dtype, scales=(node.real("scale"),), zero_points=(node.integer("zero_point"),)
    )


def _note_scales(graph: Graph) -> None:
    """Give the tensors of integers their scales; what reads them with another scale computes that itself."""
    names = [tensor.name for node in graph.nodes for tensor in node.outputs]
    builder = Builder(graph.name, graph.dims, taken=names)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "QUANTIZE":
            node.output.quantization = _quantization_of(node, node.output.dtype)
        if node.op != "DEQUANTIZE":
            nodes.append(node)
            continue
        stored, wanted = node.input(0), _quantization_of(node, node.input(0).dtype)
        if stored.quantization in (None, wanted):
            stored.quantization = wanted
            nodes.append(node)
            continue
        builder.graph.nodes, builder.source, builder.prefix = [], node.source, node.output.name
        steps = builder.op("CAST", stored, dtype="float32")
        shifted = builder.op("SUB", steps, builder.scalar(wanted.zero_points[0], DType.FLOAT32))
        builder.op("MUL", shifted, builder.scalar(wanted.scales[0], DType.FLOAT32))
        nodes += builder.graph.nodes
        nodes[-1].outputs = [node.output]
    graph.nodes = nodes


class _Rewriter:
    """Walks a graph once, in the order in which it runs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._consumers = graph.consumers()
        self._returned = frozenset(graph.outputs)
        self._nodes: list[Node] = []
        self._constants = Constants8()
        # The int8 tensor that a float tensor is made of; and the one that another int8 tensor is the same as.
        self._integers: dict[Tensor, Tensor] = {}
        self._renamed: dict[Tensor, Tensor] = {}

    def run(self) -> None:
        _note_scales(self._graph)
        for node in self._graph.nodes:
            node.inputs = [None if t is None else self._renamed.get(t, t) for t in node.inputs]
            if not self._rewrite(node):
                self._nodes.append(node)
        self._graph.nodes = self._nodes
        self._graph.outputs = [self._renamed.get(t, t) for t in self._graph.outputs]
        self._graph.remove_dead_nodes()

    def count(self, account: Account) -> None:
        """Add what computes in what now."""
        for node in self._graph.nodes:
            if node.op in _ENDS:
                continue
            if node.outputs[0].quantization is not None:
                account.integer += 1
            else:
                account.left[node.op] += 1

    def _rewrite(self, node: Node) -> bool:
        """Append what takes a node's place; False where nothing does."""
        if node.op == "DEQUANTIZE":
            if node.input(0).dtype == DType.INT8:
                self._integers[node.output] = node.input(0)
            return False
        if node.op == "QUANTIZE":
            return self._quantize(node)
        if node.op in MOVING:
            return self._move(node)
        return self._compute(node)

    def _quantize(self, node: Node) -> bool:
        """Integers that are made of the same ones again are these.

        Those of another scale are made by way of float: XNNPACK rescales integers with a factor of 8 bits, which is off by up to
        half a step.
        """
        known = self._integers.get(node.input(0))
        is_same = known is not None and known.quantization == node.output.quantization
        if known is None or not is_same or node.output in self._returned:
            return False
        self._renamed[node.output] = known
        return True

    def _move(self, node: Node) -> bool:
        """The same values elsewhere are the same integers elsewhere."""
        inputs = self._moved_inputs(node)
        if inputs is None or inputs[0].quantization is None:
            return False
        rest = node.inputs[len(inputs) :]
        if node.op == "PADV2":
            readers = self._consumers.get(node.output, [])
            is_pooled = all(reader.op == "MAX_POOL_2D" for reader in readers)
            value = padding_value(node, inputs[0], is_pooled=is_pooled)
            if value is None:
                return False
            rest = [value]
        self._append(node, [*inputs, *rest], inputs[0].quantization)
        return True

    def _moved_inputs(self, node: Node) -> list[Tensor] | None:
        """The integers of what is moved, all of one scale; None where there are none."""
        if node.attributes.get("fused_activation_function", "NONE") != "NONE":
            return None
        moved = node.inputs if node.op in JOINING else node.inputs[:1]
        reals = [tensor for tensor in moved if tensor is not None and tensor in self._integers]
        if len(reals) != len(moved):
            return None
        known = [self._integers[tensor] for tensor in reals]
        if all(tensor.quantization == known[0].quantization for tensor in known):
            return known
        wanted = self._wanted(node.outputs[0])
        return None if wanted is None else [self._rescale(tensor, wanted) for tensor in reals]

    def _rescale(self, real: Tensor, wanted: Quantization) -> Tensor:
        """The integers of a float tensor with another scale."""
        known = self._integers[real]
        if known.quantization == wanted:
            return known
        rescaled = _as_integers(real, wanted)
        self._nodes.append(Node(op="QUANTIZE", inputs=[real], outputs=[rescaled]))
        return rescaled

    def _compute(self, node: Node) -> bool:
        """The int8 kernel, where there is one for what was trained."""
        wanted = self._wanted(node.outputs[0]) if len(node.outputs) == 1 else None
        if wanted is None:
            return False
        inputs = find_integer_inputs(node, wanted, self._integers.get, self._constants)
        if inputs is None:
            return False
        self._append(node, inputs, wanted)
        return True

    def _wanted(self, tensor: Tensor) -> Quantization | None:
        """What integers alone are made of a tensor, there or where its values are moved to; None if there is any other reader."""
        if tensor in self._returned:
            return None
        found: set[Quantization | None] = set()
        for reader in self._consumers.get(tensor, []):
            if reader.op == "QUANTIZE":
                found.add(reader.output.quantization)
            else:
                moved = reader.outputs if reader.op in MOVING else []
                found |= {self._wanted(output) for output in moved} or {None}
        (wanted,) = found if len(found) == 1 else (None,)
        return wanted if wanted is not None and wanted.dtype == DType.INT8 else None

    def _append(
        self, node: Node, inputs: Sequence[Tensor | None], quantization: Quantization
    ) -> None:
        """The node on integers; what reads its outputs in float has them made of these."""
        made = [_as_integers(tensor, quantization) for tensor in node.outputs]
        self._nodes.append(
            Node(
                op=node.op,
                inputs=list(inputs),
                outputs=made,
                attributes=dict(node.attributes),
                source=node.source,
            )
        )
        for integers, real in zip(made, node.outputs, strict=True):
            self._integers[real] = integers
            self._nodes.append(
                Node(op="DEQUANTIZE", inputs=[integers], outputs=[real], source=node.source)
            )


def _as_integers(tensor: Tensor, quantization: Quantization) -> Tensor:
    return Tensor(
        name=tensor.name,
        dtype=DType.INT8,
        shape=tensor.shape,
        source=tensor.source,
        quantization=quantization,
    )
