"""Removes what does nothing: dead nodes, transposes and reshapes that undo each other, doubled work."""

from __future__ import annotations

from edgeconv.graph import Graph, Node, Tensor

__all__ = [
    "clean_graph",
    "compose",
    "has_dead_nodes",
    "has_inverse_transposes",
    "is_trivial_transpose",
]

_SHAPE_ONLY = ("RESHAPE", "TRANSPOSE")


def clean_graph(graph: Graph) -> int:
    """Clean until nothing changes.

    Returns:
        The number of nodes removed or replaced.
    """
    total = 0
    while changed := _clean_once(graph):
        total += changed
    return total


def _clean_once(graph: Graph) -> int:
    producers = graph.producers()
    renamed: dict[Tensor, Tensor] = {}
    seen: dict[object, Tensor] = {}
    outputs = set(graph.outputs)
    changed = 0
    for node in graph.nodes:
        node.inputs = [None if t is None else renamed.get(t, t) for t in node.inputs]
        if node.op not in _SHAPE_ONLY:
            continue
        changed += _simplify(node, producers)
        result = _replacement(node, seen)
        if result is None:
            continue
        result = renamed.get(result, result)
        if node.output in outputs:
            if result not in producers or result in outputs:
                continue  # an input, a constant or another output: the copy is needed
            result.name, node.output.name = node.output.name, result.name
            outputs.add(result)
        renamed[node.output] = result
        changed += 1
    graph.outputs = [renamed.get(t, t) for t in graph.outputs]
    return changed + graph.remove_dead_nodes()


def _simplify(node: Node, producers: dict[Tensor, Node]) -> int:
    """Look through a chain: transpose of transpose, reshape of reshape, transpose that is a reshape."""
    before = producers.get(node.input(0))
    if before is not None and before.op == node.op and node.op == "RESHAPE":
        node.inputs[0] = before.input(0)
        return 1
    if before is not None and before.op == node.op == "TRANSPOSE":
        node.attributes["perm"] = compose(before.integers("perm"), node.integers("perm"))
        node.inputs[0] = before.input(0)
        return 1
    if node.op == "TRANSPOSE" and is_trivial_transpose(node.input(0), node.integers("perm")):
        node.op = "RESHAPE"
        node.attributes = {"shape": node.output.shape}
        return 1
    return 0


def _replacement(node: Node, seen: dict[object, Tensor]) -> Tensor | None:
    """The tensor that already is what the node makes, or None."""
    x = node.input(0)
    if node.op == "TRANSPOSE" and list(node.integers("perm")) == list(range(x.rank)):
        return x
    if node.op == "RESHAPE" and x.shape == node.output.shape:
        return x
    key = (node.op, x, node.attributes.get("perm"), node.attributes.get("shape"))
    first = seen.setdefault(key, node.output)
    return None if first is node.output else first


def compose(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """The one permutation that does `first`, then `second`."""
    return tuple(first[axis] for axis in second)


def is_trivial_transpose(x: Tensor, perm: tuple[int, ...]) -> bool:
    """Whether only axes of size 1 move, so that no element does."""
    moved = [axis for axis in perm if x.shape[axis] != 1]
    return moved == sorted(moved)


def has_dead_nodes(graph: Graph) -> str | None:
    """None when every node is read by something."""
    read = {t for node in graph.nodes for t in node.inputs if t is not None} | set(graph.outputs)
    dead = [node.op for node in graph.nodes if not any(t in read for t in node.outputs)]
    return f"nothing reads {dead}" if dead else None


def has_inverse_transposes(graph: Graph) -> str | None:
    """None when no transpose follows a transpose."""
    producers = graph.producers()
    for node in graph.nodes:
        before = producers.get(node.input(0)) if node.op == "TRANSPOSE" else None
        if before is not None and before.op == "TRANSPOSE":
            return f"{node.output!r} transposes {before.output!r}, itself a transpose"
    return None
