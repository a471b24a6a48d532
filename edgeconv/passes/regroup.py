"""Brings transposes together that a reshape or a matrix product keeps apart.

`x.flatten(2).transpose(1, 2)` behind a convolution is a transpose, a reshape and a transpose; permuting the axes that the
reshape merges, instead of the merged ones, makes the two transposes neighbours, and here they cancel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.dims import Size
from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.builder import make_node
from edgeconv.graph.ops.spec import Shape
from edgeconv.passes.cleanup import compose

__all__ = ["regroup_transposes"]


def regroup_transposes(graph: Graph) -> int:
    """Move transposes over reshapes and into matrix products, where fewer or cheaper ones are left.

    Returns:
        The number of transposes moved.
    """
    total = 0
    while changed := _regroup_once(graph):
        total += changed
    return total + _absorb(graph)


def _regroup_once(graph: Graph) -> int:
    """One way through the graph; what was moved may be moved again on the next."""
    producers, consumers = graph.producers(), graph.consumers()
    returned = set(graph.outputs)
    replaced: set[Tensor] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        reshape = _producer(producers, node, "TRANSPOSE", "RESHAPE")
        first = _producer(producers, reshape, "RESHAPE", "TRANSPOSE")
        moved = None
        if reshape is not None and first is not None and first.output not in replaced:
            passed = (reshape.output, first.output)
            if all(len(consumers[t]) == 1 and t not in returned for t in passed):
                moved = _move(first, reshape, node)
        if moved is not None:
            replaced.add(node.output)
        nodes += moved or [node]
    if replaced:
        graph.nodes = nodes
        graph.remove_dead_nodes()
    return len(replaced)


def _producer(
    producers: Mapping[Tensor, Node], node: Node | None, op: str, wanted: str
) -> Node | None:
    """What makes the input of `node`, where they are the operators `wanted` and `op`."""
    before = producers.get(node.input(0)) if node is not None and node.op == op else None
    return before if before is not None and before.op == wanted else None


def _move(first: Node, reshape: Node, second: Node) -> list[Node] | None:
    """One transpose and one reshape for transpose, reshape, transpose."""
    x, before, after = first.input(0), reshape.input(0).shape, reshape.output.shape
    merged = _groups(before, after)
    if merged is not None:
        inner = [axis for group in second.integers("perm") for axis in merged[group]]
        perm = compose(first.integers("perm"), tuple(inner))
        turned = _node("TRANSPOSE", x, second, perm=perm)
        return [turned, _finish("RESHAPE", turned.output, second, shape=second.output.shape)]
    split = _groups(after, before)
    if split is None:
        return None
    # Axis i of the reshaped tensor comes from x's axis perm[i]: split x's axes where they are.
    order = first.integers("perm")
    parts = [split[order.index(axis)] for axis in range(x.rank)]
    flat = [axis for group in parts for axis in group]
    reshaped = _node("RESHAPE", x, second, shape=tuple(after[axis] for axis in flat))
    back = tuple(flat.index(axis) for axis in range(len(after)))
    perm = compose(back, second.integers("perm"))
    return [reshaped, _finish("TRANSPOSE", reshaped.output, second, perm=perm)]


def _groups(many: Shape, few: Shape) -> list[list[int]] | None:
    """For each axis of `few` the neighbouring axes of `many` that it merges; None if it is no merging."""
    groups: list[list[int]] = []
    position = 0
    for size in few:
        group: list[int] = []
        total: Size = 1
        while position < len(many) and (total != size or (not group and many[position] == 1)):
            group.append(position)
            total = many[position] * total
            position += 1
        if total != size:
            return None
        groups.append(group)
    rest = range(position, len(many))
    if any(many[axis] != 1 for axis in rest) or not groups:
        return None
    groups[-1] += rest
    return groups


def _node(op: str, x: Tensor, like: Node, **attributes: Shape) -> Node:
    name = f"{like.output.name}/{op.lower()}"
    return make_node(op, [x], names=[name], attributes=dict(attributes), source=like.source)


def _finish(op: str, x: Tensor, like: Node, **attributes: Shape) -> Node:
    """The last node, which makes the tensor that everything reads already."""
    node = _node(op, x, like, **attributes)
    node.outputs = [like.output]
    return node


def _absorb(graph: Graph) -> int:
    """A matrix product can take its second operand transposed: the innermost axis then stays where it is."""
    producers, consumers = graph.producers(), graph.consumers()
    changed = 0
    for node in graph.nodes:
        before = producers.get(node.input(1)) if node.op == "BATCH_MATMUL" else None
        if before is None or before.op != "TRANSPOSE" or len(consumers[before.output]) > 1:
            continue
        *batch, row, column = before.integers("perm")
        if row != len(batch) + 1 or before.output in graph.outputs:
            continue
        _swap(before, (*batch, column, row))
        node.attributes["adj_y"] = not node.flag("adj_y")
        changed += 1
    return changed


def _swap(node: Node, perm: Sequence[int]) -> None:
    x = node.input(0)
    node.attributes["perm"] = tuple(perm)
    node.output.shape = tuple(x.shape[axis] for axis in perm)
