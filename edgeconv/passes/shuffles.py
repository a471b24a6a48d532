"""Channel shuffles as one operator while the layout is chosen: they shuffle an axis, wherever that axis stands.

`x.view(n, g, c // g, h, w).transpose(1, 2).reshape(n, c, h, w)` is written as a reshape, a transpose and a reshape, which say
where the channels are. Taken together they only say how one axis is shuffled.
"""

from __future__ import annotations

from edgeconv.dims import Size, product
from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.builder import make_node

__all__ = ["SHUFFLE", "gather_shuffles", "spread_shuffles"]

SHUFFLE = "SHUFFLE"
"""Name of the operator; it lives within one pass. Attributes: `axis`, and `parts`: groups and their size."""


def gather_shuffles(graph: Graph) -> int:
    """Replace what shuffles an axis of an image by one node.

    Returns:
        How many were found.
    """
    producers, consumers = graph.producers(), graph.consumers()
    returned = set(graph.outputs)
    found = 0
    for node in graph.nodes:
        turn = producers.get(node.input(0)) if node.op == "RESHAPE" else None
        split = producers.get(turn.input(0)) if turn and turn.op == "TRANSPOSE" else None
        if turn is None or split is None or split.op != "RESHAPE":
            continue
        inner = (turn.output, split.output)
        if any(len(consumers[t]) > 1 or t in returned for t in inner):
            continue
        axis = _shuffled_axis(split, turn, node)
        if axis is not None:
            node.op, node.inputs = SHUFFLE, [split.input(0)]
            node.attributes = {"axis": axis, "parts": split.output.shape[axis : axis + 2]}
            found += 1
    graph.remove_dead_nodes()
    return found


def _shuffled_axis(split: Node, turn: Node, merge: Node) -> int | None:
    """The axis that is cut in two, which change places and are merged again; None if it is anything else."""
    x, parts, perm = split.input(0), split.output, turn.integers("perm")
    if parts.rank != x.rank + 1 or merge.output.shape != x.shape:
        return None
    moved = [axis for axis, source in enumerate(perm) if axis != source]
    if len(moved) != 2 or moved[1] != moved[0] + 1:
        return None
    axis = moved[0]
    before, after = parts.shape[:axis], parts.shape[axis + 2 :]
    is_cut = product(parts.shape[axis : axis + 2]) == x.shape[axis]
    return axis if is_cut and (*before, x.shape[axis], *after) == x.shape else None


def spread_shuffles(graph: Graph) -> None:
    """Write the nodes that `gather_shuffles` made as reshapes and transposes again, of as few axes as it takes."""
    graph.nodes = [new for node in graph.nodes for new in _spread(node)]


def _spread(node: Node) -> list[Node]:
    if node.op != SHUFFLE:
        return [node]
    x, axis = node.input(0), node.integer("axis")
    before, after = product(x.shape[:axis]), product(x.shape[axis + 1 :])
    split = _node("RESHAPE", x, node, shape=(before, *node.sizes("parts"), after))
    turn = _node("TRANSPOSE", split.output, node, perm=(0, 2, 1, 3))
    merge = _node("RESHAPE", turn.output, node, shape=x.shape)
    merge.outputs = node.outputs
    return [split, turn, merge]


def _node(op: str, x: Tensor, like: Node, **attributes: tuple[Size, ...]) -> Node:
    name = f"{like.output.name}/{op.lower()}_shuffle"
    return make_node(op, [x], names=[name], attributes=dict(attributes), source=like.source)
