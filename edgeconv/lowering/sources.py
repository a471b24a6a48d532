"""Where a node of a PyTorch program came from in the user's own code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from torch import fx

from edgeconv.graph import Source

__all__ = ["count_operators", "operator_nodes", "source_of"]

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_LIBRARY = re.compile(r"/(torch|torch/_.*|functorch)/|/edgeconv(_converters)?/")


def source_of(node: fx.Node) -> Source:
    """The node's name, the dotted path of its module, and the innermost line that is not PyTorch's own."""
    return Source(node=node.name, module=_module_path(node), line=_user_line(node))


def operator_nodes(module: fx.GraphModule) -> list[fx.Node]:
    """The nodes that call operators, those of branches included."""
    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    for child in module.children():
        if isinstance(child, fx.GraphModule):
            nodes += operator_nodes(child)
    return nodes


def count_operators(nodes: Iterable[fx.Node]) -> list[str]:
    """A line for each operator among the nodes, the most frequent first: how often, and where it comes first."""
    lines: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for node in nodes:
        counts[str(node.target)] += 1
        lines.setdefault(str(node.target), source_of(node).line)
    return [f"{op} x{count}, first at {lines[op] or '?'}" for op, count in counts.most_common()]


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _user_line(node: fx.Node) -> str:
    frames = list(_FRAME.finditer(str(node.meta.get("stack_trace") or "")))
    own = [frame for frame in frames if not _LIBRARY.search(frame["file"])]
    chosen = own or frames
    if not chosen:
        return ""
    frame = chosen[-1]
    return f"{PurePath(frame['file']).name}:{frame['line']} in {frame['function']}"
