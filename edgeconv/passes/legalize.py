"""Rewrites a graph to what a writer's kernels take: operators, dtypes and ranks that they lack.

A writer declares a `Kernel` for each operator that it can write, and expansions, functions that build what replaces a
node. A node whose dtype no kernel takes is computed in another one, between casts. What is left is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeconv.errors import UnsupportedOperatorsError, counted
from edgeconv.graph import Builder, Graph, Node, Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.graph.builder import make_node
from edgeconv.signature import DType

__all__ = ["Expansion", "Kernel", "KernelSet", "legalize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What one operator takes.

    Attributes:
        dtypes: Of its data.
        max_rank: Of its tensors.
        indices: Dtypes of the inputs that are no data, by position.
        results: Dtypes of its outputs; None where they follow from the inputs.
    """

    dtypes: frozenset[DType]
    max_rank: int = 8
    indices: Mapping[int, tuple[DType, ...]] = field(default_factory=dict)
    results: frozenset[DType] | None = None

    def takes_shapes_of(self, node: Node) -> bool:
        """Whether ranks and results are within its limits."""
        results = self.results
        return _rank_of(node) <= self.max_rank and (
            results is None or all(t.dtype in results for t in node.outputs)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """A replacement of a node.

    Attributes:
        applies: Whether a node is to be replaced.
        build: Gives the tensor that stands for the node's only output.
        warning: What the user should know.
    """

    applies: Callable[[Node], bool]
    build: Callable[[Builder, Node], Tensor]
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSet:
    """All that a writer can write.

    Attributes:
        title: Of the format, for messages.
        kernels: By operator.
        expansions: By operator; of several, the first that applies is taken.
    """

    title: str
    kernels: Mapping[str, Kernel]
    expansions: Mapping[str, Sequence[Expansion]] = field(default_factory=dict)


# Where to compute what has no kernel, in order of preference, and whether every value survives the way there.
_WORKING: Mapping[DType, tuple[tuple[DType, bool], ...]] = {
    DType.BOOL: ((DType.INT8, True), (DType.INT32, True), (DType.FLOAT32, True)),
    **dict.fromkeys(
        (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16),
        ((DType.INT32, True), (DType.INT64, True), (DType.FLOAT32, True)),
    ),
    DType.INT32: ((DType.INT64, True), (DType.FLOAT64, True), (DType.FLOAT32, False)),
    DType.UINT32: ((DType.INT64, True), (DType.FLOAT64, True)),
    DType.INT64: ((DType.INT32, False), (DType.FLOAT64, False), (DType.FLOAT32, False)),
    DType.FLOAT16: ((DType.FLOAT32, True),),
    DType.BFLOAT16: ((DType.FLOAT32, True),),
    DType.FLOAT64: ((DType.FLOAT32, False),),
}


def legalize(graph: Graph, target: KernelSet) -> list[str]:
    """Rewrite a graph, and the graphs inside it, in place.

    Returns:
        What the user should know: where values may lose precision or range.

    Raises:
        UnsupportedOperatorsError: Neither a kernel nor an expansion takes some operators; all are listed.
    """
    legalizer = _Legalizer(target)
    for part in [graph, *graph.subgraphs()]:
        legalizer.run(part)
    if legalizer.refused:
        raise UnsupportedOperatorsError(
            f"{counted(len(legalizer.refused), 'operator')} cannot be written as {target.title}",
            why=f"{target.title} has no kernel that takes what is listed",
            hint="use another dtype or a smaller rank in the model",
            details=_describe(legalizer.refused),
        )
    return legalizer.warnings()


def _describe(nodes: Sequence[Node]) -> list[str]:
    """One line for each operator, dtype and rank, with the count and the first source line."""
    keys = [(node.op, _dtype_of(node), _rank_of(node)) for node in nodes]
    first = {key: node.source for key, node in zip(reversed(keys), reversed(nodes), strict=True)}
    return [
        f"{op} of {dtype}, rank {rank}, x{count}, first at {first[op, dtype, rank] or '?'}"
        for (op, dtype, rank), count in Counter(keys).items()
    ]


def _dtype_of(node: Node) -> DType:
    tensors = [*(t for t in node.inputs if t is not None), *node.outputs]
    return tensors[0].dtype


def _rank_of(node: Node) -> int:
    return max(t.rank for t in (*node.inputs, *node.outputs) if t is not None)


class _Legalizer:
    def __init__(self, target: KernelSet) -> None:
        self.refused: list[Node] = []
        self._target = target
        self._lossy: dict[tuple[DType, DType], set[str]] = {}
        self._notes: list[str] = []
        self._builder = Builder("")
        # What a tensor already is in another dtype: cast before, or what it was itself cast back from.
        self._known: dict[tuple[Tensor, DType], Tensor] = {}

    def run(self, graph: Graph) -> None:
        names = [t.name for t in _tensors(graph)]
        self._builder = Builder(graph.name, graph.dims, taken=names)
        self._known = {key: t for key, t in self._known.items() if t.is_constant}
        graph.nodes = [new for node in graph.nodes for new in self._rewrite(node)]
        graph.remove_dead_nodes()

    def warnings(self) -> list[str]:
        lossy = [
            f"{', '.join(sorted(ops))} of {dtype}: computed in {working}, for want of a "
            f"{self._target.title} kernel; values beyond its range or precision are lost"
            for (dtype, working), ops in self._lossy.items()
        ]
        return [*lossy, *dict.fromkeys(self._notes)]

    def _rewrite(self, node: Node) -> Iterator[Node]:
        for expansion in self._target.expansions.get(node.op, ()):
            if expansion.applies(node):
                self._notes += [expansion.warning] if expansion.warning else []
                for new in self._expand(node, expansion):
                    yield from self._rewrite(new)
                return
        kernel = self._target.kernels.get(node.op)
        if kernel is None or not kernel.takes_shapes_of(node):
            self.refused.append(node)
            return
        yield from self._cast_indices(node, kernel)
        yield from self._compute_in_taken_dtype(node, kernel)

    def _expand(self, node: Node, expansion: Expansion) -> list[Node]:
        builder = self._begin(node)
        result = expansion.build(builder, node)
        made = builder.graph.nodes
        if not made or result is not made[-1].output:
            result = builder.op("RESHAPE", result, shape=result.shape)
        made[-1].outputs = [node.output]
        return made

    def _begin(self, node: Node) -> Builder:
        builder = self._builder
        builder.graph.nodes, builder.source = [], node.source
        builder.prefix = node.outputs[0].name
        return builder

    def _cast_indices(self, node: Node, kernel: Kernel) -> list[Node]:
        builder = self._begin(node)
        for position, dtypes in kernel.indices.items():
            tensor = node.inputs[position] if position < len(node.inputs) else None
            if tensor is not None and tensor.dtype not in dtypes:
                node.inputs[position] = self._cast(builder, tensor, dtypes[0])
        return builder.graph.nodes

    def _compute_in_taken_dtype(self, node: Node, kernel: Kernel) -> list[Node]:
        data = [t for i, t in enumerate(node.inputs) if t is not None and i not in kernel.indices]
        wrong = next((t.dtype for t in data or node.outputs if t.dtype not in kernel.dtypes), None)
        if wrong is None:
            return [node]
        choices = [(d, exact) for d, exact in _WORKING.get(wrong, ()) if d in kernel.dtypes]
        if not choices or not data:
            self.refused.append(node)
            return []
        working, is_exact = choices[0]
        if not is_exact:
            self._lossy.setdefault((wrong, working), set()).add(node.op)
        builder = self._begin(node)
        inputs = [
            self._cast(builder, t, working) if t in data and t.dtype == wrong else t
            for t in node.inputs
        ]
        return self._replace(builder, node, inputs)

    def _cast(self, builder: Builder, tensor: Tensor, dtype: DType) -> Tensor:
        if (tensor, dtype) not in self._known:
            self._known[tensor, dtype] = (
                builder.op("CAST", tensor, dtype=dtype.value)
                if tensor.constant is None
                else builder.constant(tensor.constant.astype(numpy_dtype(dtype)), tensor.name)
            )
        return self._known[tensor, dtype]

    def _replace(self, builder: Builder, node: Node, inputs: list[Tensor | None]) -> list[Node]:
        """The node on cast inputs, and its results cast back."""
        names = [builder.unique_name(tensor.name) for tensor in node.outputs]
        new = make_node(
            node.op, inputs, names=names, attributes=dict(node.attributes), source=node.source
        )
        made = [*builder.graph.nodes, new]
        for index, (mine, old) in enumerate(zip(new.outputs, node.outputs, strict=True)):
            mine.shape = old.shape
            if mine.dtype == old.dtype:
                mine.name = old.name
                new.outputs[index] = old
                continue
            back = make_node(
                "CAST", [mine], names=[old.name], attributes={"dtype": old.dtype.value}
            )
            back.source, back.outputs = node.source, [old]
            made.append(back)
            if old.dtype.is_floating or old.dtype == DType.INT64:  # small integers wrap around
                self._known[old, mine.dtype] = mine
        return made


def _tensors(graph: Graph) -> list[Tensor]:
    made = [tensor for node in graph.nodes for tensor in node.outputs]
    return [*graph.inputs, *graph.constants(), *made]
