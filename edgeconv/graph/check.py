"""Refuses a graph that is not what it says: every shape and dtype is inferred again."""

from __future__ import annotations

from collections import Counter

from edgeconv.dims import symbols
from edgeconv.errors import counted
from edgeconv.graph.model import Graph, GraphError, Node, Tensor
from edgeconv.graph.ops import find_op
from edgeconv.graph.ops.spec import shapes_agree

__all__ = ["check_graph"]


def check_graph(graph: Graph) -> None:
    """Check that a graph can run in its order and that all dtypes and shapes are what the operators make.

    Raises:
        GraphError: It lists every problem found.
    """
    problems = [*_check_names(graph), *_check_order(graph)]
    for node in graph.nodes:
        problems += _check_node(node)
    problems += _check_dims(graph)
    if problems:
        raise GraphError(f"graph '{graph.name}' is malformed:\n  " + "\n  ".join(problems))
    for inner in graph.subgraphs():
        check_graph(inner)


def _tensors(graph: Graph) -> list[Tensor]:
    made = [tensor for node in graph.nodes for tensor in node.outputs]
    return list(dict.fromkeys([*graph.inputs, *graph.constants(), *made]))


def _check_names(graph: Graph) -> list[str]:
    counts = Counter(tensor.name for tensor in _tensors(graph))
    return [f"the name '{name}' stands for {n} tensors" for name, n in counts.items() if n > 1]


def _check_order(graph: Graph) -> list[str]:
    known = set(graph.inputs)
    problems: list[str] = []
    for node in graph.nodes:
        problems += [
            f"'{node.op}' reads {tensor!r} before anything made it"
            for tensor in node.inputs
            if tensor is not None and not tensor.is_constant and tensor not in known
        ]
        known.update(node.outputs)
    unmade = [t for t in graph.outputs if t not in known and not t.is_constant]
    return problems + [f"output {tensor!r} is made by nothing" for tensor in unmade]


def _check_node(node: Node) -> list[str]:
    try:
        inferred = find_op(node.op).infer(node)
    except GraphError as error:
        return [str(error)]
    if len(inferred) != len(node.outputs):
        return [f"'{node.op}' makes {counted(len(inferred), 'output')}, not {len(node.outputs)}"]
    return [
        f"'{node.op}' makes {dtype}[{shape}], not {tensor!r}"
        for (dtype, shape), tensor in zip(inferred, node.outputs, strict=True)
        if dtype != tensor.dtype or not shapes_agree(shape, tensor.shape)
    ]


def _check_dims(graph: Graph) -> list[str]:
    known = {dim.name for dim in graph.dims}
    return [
        f"{tensor!r} speaks of unknown dims {sorted(unknown)}"
        for tensor in _tensors(graph)
        if (unknown := frozenset().union(*map(symbols, tensor.shape)) - known)
    ]
