"""Chooses the layout of everything between convolutions, so that the fewest elements are transposed.

The lowering puts a transpose before and after every convolution. The operators between them work in either layout, so
each may be channels first or channels last; a transpose is needed wherever a tensor's maker and reader differ. The
cheapest choice is a minimum cut: makers and readers that are bound to a layout are joined to the source (channels
first) or the sink (channels last), and a tensor costs its number of elements when the cut parts it.

Source of the method: Greig, Porteous, Seheult, "Exact Maximum A Posteriori Estimation for Binary Images" (binary
labels by minimum cut); a tensor with several readers is the usual hyperedge with two auxiliary vertices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.builder import make_node
from edgeconv.passes.cleanup import is_trivial_transpose
from edgeconv.passes.layout_rules import (
    channels_first,
    channels_last,
    is_agnostic,
    is_layout_change,
    is_single,
    numel,
    permute_attributes,
    read_channels_last,
    reads_either,
)
from edgeconv.passes.shuffles import gather_shuffles, spread_shuffles

__all__ = ["assign_layout"]

_FIRST, _LAST = "channels first", "channels last"
Vertex = str | Node | tuple[str, Tensor]


def assign_layout(graph: Graph) -> int:
    """Move layout-agnostic nodes to channels last where that saves transposes.

    Returns:
        The number of nodes moved.
    """
    gather_shuffles(graph)
    chosen = _choose(graph)
    if chosen:
        _Rewriter(graph, chosen).run()
    spread_shuffles(graph)
    return len(chosen)


@dataclass(slots=True)
class _Problem:
    """The vertex that decides the layout of each tensor's maker and readers."""

    graph: Graph
    agnostic: set[Node] = field(default_factory=set)

    def maker(self, producer: Node | None) -> Vertex:
        if producer is None:
            return _FIRST
        if producer in self.agnostic:
            return producer
        return _LAST if is_layout_change(producer, channels_first) else _FIRST

    def reader(self, consumer: Node) -> Vertex:
        if consumer in self.agnostic:
            return consumer
        return _LAST if is_layout_change(consumer, channels_last) else _FIRST


def _choose(graph: Graph) -> set[Node]:
    """The nodes that are to work channels last."""
    problem = _Problem(graph, {node for node in graph.nodes if is_agnostic(node)})
    producers, consumers = graph.producers(), graph.consumers()
    returned = set(graph.outputs)
    ties: list[tuple[Tensor, Vertex, list[Vertex]]] = []
    for tensor in [*graph.inputs, *producers]:
        bound = [node for node in consumers.get(tensor, []) if not reads_either(node)]
        readers = [problem.reader(node) for node in bound]
        if tensor in returned:
            readers.append(_FIRST)
        ties.append((tensor, problem.maker(producers.get(tensor)), readers))
    return _cut(graph, ties)


def _cut(graph: Graph, ties: Iterable[tuple[Tensor, Vertex, list[Vertex]]]) -> set[Node]:
    import networkx as nx

    network = nx.DiGraph()
    network.add_nodes_from((_FIRST, _LAST))
    for tensor, maker, readers in ties:
        if all(reader == maker for reader in readers):
            continue
        _tie(network, tensor, maker, (readers, _cost(tensor, maker, readers, graph)))
    if network.degree(_FIRST) == 0 or network.degree(_LAST) == 0:
        reachable = network.nodes if network.degree(_LAST) else ()
        return {vertex for vertex in reachable if isinstance(vertex, Node)}
    _, (_, last) = nx.minimum_cut(
        network, _FIRST, _LAST, flow_func=nx.algorithms.flow.boykov_kolmogorov
    )
    return {vertex for vertex in last if isinstance(vertex, Node)}


def _cost(tensor: Tensor, maker: Vertex, readers: list[Vertex], graph: Graph) -> int:
    """One more than the elements, so that of two equal cuts the one with fewer transposes wins.

    Beside an operator that has to be channels last it is one more again: what can be fused with it stays at its side.
    """
    if tensor.rank < 3 or is_trivial_transpose(tensor, channels_last(tensor.rank)):
        return 1
    is_beside = tensor.rank > 3 and _LAST in (maker, *readers)
    return numel(tensor, graph) + (2 if is_beside else 1)


def _tie(network: object, tensor: Tensor, maker: Vertex, how: tuple[list[Vertex], int]) -> None:
    """Pay `cost` once when any reader differs from the maker, in either direction."""
    readers, cost = how
    down, up = ("down", tensor), ("up", tensor)
    add = getattr(network, "add_edge")  # noqa: B009 - networkx has no types
    add(maker, down, capacity=cost)
    add(up, maker, capacity=cost)
    for reader in readers:
        add(down, reader)
        add(reader, up)


class _Rewriter:
    """Rebuilds the node list with the chosen nodes channels last."""

    def __init__(self, graph: Graph, chosen: set[Node]) -> None:
        self._graph = graph
        self._chosen = chosen
        self._nodes: list[Node] = []
        self._last: dict[Tensor, Tensor] = {}  # channels-first tensor -> its channels-last twin
        self._first: dict[Tensor, Tensor] = {}  # original of a moved tensor -> channels-first copy
        self._moved: set[Tensor] = set()
        self._returned = set(graph.outputs)
        self._names = 0

    def run(self) -> None:
        for node in self._graph.nodes:
            if is_layout_change(node, channels_first):
                self._last.setdefault(node.output, self._as_first(node.input(0)))
            if node in self._chosen:
                self._move(node)
            elif reads_either(node) and node.input(0) in self._last:
                read_channels_last(node, self._last[node.input(0)])
                self._nodes.append(node)
            elif is_layout_change(node, channels_last) and node.input(0) in self._last:
                self._replace(node.output, self._last[node.input(0)])
            else:
                node.inputs = [None if t is None else self._as_first(t) for t in node.inputs]
                self._nodes.append(node)
        self._graph.outputs = [self._as_output(tensor) for tensor in self._graph.outputs]
        self._graph.nodes = self._nodes
        self._graph.remove_dead_nodes()

    def _replace(self, old: Tensor, new: Tensor) -> None:
        """Readers of `old`, a channels-last tensor that a transpose made, read `new` from now on."""
        self._first[old] = new

    def _as_output(self, tensor: Tensor) -> Tensor:
        """What the graph returns, under the name it has to have."""
        result = self._as_first(tensor)
        if result is tensor:
            return tensor
        if result in self._returned or result in self._graph.inputs:
            copy = make_node(
                "RESHAPE", [result], names=[tensor.name], attributes={"shape": result.shape}
            )
            copy.source = tensor.source
            self._nodes.append(copy)
            return copy.output
        result.name, tensor.name = tensor.name, result.name
        self._returned.add(result)
        return result

    def _move(self, node: Node) -> None:
        rank = node.outputs[0].rank
        perm = channels_last(rank)
        node.inputs = [None if t is None else self._as_last(t, rank) for t in node.inputs]
        permute_attributes(node, perm)
        outputs = []
        for tensor in node.outputs:
            shape = tuple(tensor.shape[axis] for axis in perm)
            twin = Tensor(
                name=self._take_name(tensor), dtype=tensor.dtype, shape=shape, source=tensor.source
            )
            self._last[tensor] = twin
            self._moved.add(tensor)
            outputs.append(twin)
        node.outputs = outputs
        self._nodes.append(node)

    def _as_last(self, tensor: Tensor, rank: int) -> Tensor:
        """The channels-last twin of a tensor, made by a transpose if need be."""
        if is_single(tensor) and (tensor.is_constant or tensor.rank < rank):
            return self._as_first(tensor)
        if tensor.constant is not None:
            return self._constant_as_last(tensor, rank)
        if tensor not in self._last:
            source = self._as_first(tensor)
            self._last[tensor] = self._transpose(source, channels_last(rank), tensor.name)
        return self._last[tensor]

    def _constant_as_last(self, tensor: Tensor, rank: int) -> Tensor:
        if tensor not in self._last:
            array = tensor.constant
            if array is None:
                raise ValueError(f"{tensor!r} is no constant")
            wide = array.reshape((1,) * (rank - array.ndim) + array.shape)
            moved = wide.transpose(channels_last(rank))
            known = tensor.quantization
            known = known and known.reshaped(array.shape, wide.shape)
            self._last[tensor] = Tensor(
                name=self._unique(tensor.name, "channels_last"),
                dtype=tensor.dtype,
                shape=tuple(moved.shape),
                constant=moved,
                source=tensor.source,
                quantization=known and known.transposed(channels_last(rank)),
            )
        return self._last[tensor]

    def _as_first(self, tensor: Tensor) -> Tensor:
        """The tensor itself, or, when its maker was moved, a transpose back of its twin."""
        if tensor in self._first:
            return self._first[tensor]
        if tensor not in self._moved:
            return tensor
        twin = self._last[tensor]
        self._first[tensor] = self._transpose(twin, channels_first(twin.rank), tensor.name, tensor)
        return self._first[tensor]

    def _transpose(
        self, x: Tensor, perm: tuple[int, ...], name: str, result: Tensor | None = None
    ) -> Tensor:
        node = make_node(
            "TRANSPOSE",
            [x],
            names=[self._unique(name, "transpose")],
            attributes={"perm": perm},
            source=x.source,
        )
        if result is not None:
            node.outputs = [result]
        self._nodes.append(node)
        return node.output

    def _take_name(self, tensor: Tensor) -> str:
        """The name for what takes a tensor's place; outputs of the graph keep theirs."""
        name = tensor.name
        if tensor in self._returned:
            return self._unique(name, "channels_last")
        tensor.name = self._unique(name, "channels_first")
        return name

    def _unique(self, name: str, suffix: str) -> str:
        self._names += 1
        return f"{name}/{suffix}_{self._names}"
