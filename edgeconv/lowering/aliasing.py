"""Tells whether a program's in-place operators can be lowered as they are.

Functionalizing a program retraces it, which costs more than everything after it. Most in-place operators
(`relu_`, `add_`) change a fresh intermediate that nobody else looks at, and then the result can simply take the
place of the old value. Only a mutation that is visible through another view needs PyTorch's functionalization.
"""

from __future__ import annotations

import torch
from torch import fx

__all__ = ["find_mutated", "is_in_place", "needs_functionalization"]

_VIEW_LIKE = frozenset(
    {"reshape", "contiguous", "flatten", "dropout", "to", "type_as", "dropout_", "float"}
)


def is_in_place(node: fx.Node) -> bool:
    """Whether the operator changes its first argument."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    arguments = target._schema.arguments
    alias = arguments[0].alias_info if arguments else None
    return alias is not None and alias.is_write


def needs_functionalization(graph: fx.Graph, known: set[fx.Node]) -> bool:
    """Whether some mutation is seen through another view, or changes an input; `known` are constant nodes."""
    order = {node: position for position, node in enumerate(graph.nodes)}
    base = _find_bases(graph)
    groups: dict[fx.Node, list[fx.Node]] = {}
    for node, root in base.items():
        groups.setdefault(root, []).append(node)
    return any(
        _is_seen_elsewhere(node, groups[base[node]], order)
        for node in graph.nodes
        if is_in_place(node) and node not in known
    )


def find_mutated(graph: fx.Graph) -> set[fx.Node]:
    """The values, inputs and weights among them, that some in-place operator changes."""
    base = _find_bases(graph)
    return {base[node] for node in graph.nodes if is_in_place(node)}


def _find_bases(graph: fx.Graph) -> dict[fx.Node, fx.Node]:
    """For each node the one whose memory it may share."""
    base: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        source = _viewed(node)
        base[node] = base[source] if source is not None else node
    return base


def _viewed(node: fx.Node) -> fx.Node | None:
    """The node whose memory this one may share."""
    first = node.args[0] if node.args else None
    if not isinstance(first, fx.Node):
        return None
    if is_in_place(node) or "getitem" in str(node.target):
        return first
    if not isinstance(node.target, torch._ops.OpOverload):
        return None
    returns = node.target._schema.returns
    is_view = bool(returns) and returns[0].alias_info is not None
    name = node.target._schema.name.removeprefix("aten::")
    return first if is_view or name in _VIEW_LIKE else None


def _is_seen_elsewhere(node: fx.Node, group: list[fx.Node], order: dict[fx.Node, int]) -> bool:
    changed = node.args[0]
    if not isinstance(changed, fx.Node):
        return True
    if any(member.op == "placeholder" for member in group):
        return True
    lineage = _mutation_chain(changed)
    for member in group:
        if member is node or member in lineage or order[member] > order[node]:
            continue
        if any(order[user] > order[node] for user in member.users):
            return True
    return False


def _mutation_chain(node: fx.Node) -> set[fx.Node]:
    """The names of one value: what in-place operators returned, back to the value itself."""
    chain = {node}
    while is_in_place(node) and isinstance(node.args[0], fx.Node):
        node = node.args[0]
        chain.add(node)
    return chain
