"""Where a node of a PyTorch program came from in the user's own code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePath

import torch
from torch import fx

import edgeconv
from edgeconv.graph import Source
from edgeconv.lowering.registry import LoweringRegistry

__all__ = ["count_operators", "operator_nodes", "plugin_operators", "source_of"]

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_OURS = (str(Path(edgeconv.__file__).parent), "edgeconv_converters")
_PYTORCH = (str(Path(torch.__file__).parent), "functorch")


def source_of(node: fx.Node) -> Source:
    """The node's name, the dotted path of its module, and the innermost line that is the user's own.

    Where a module of PyTorch is all the model is, the line is PyTorch's.
    """
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


def plugin_operators(module: fx.GraphModule, registry: LoweringRegistry) -> dict[str, str]:
    """The operators that plug-ins lower, in the order of the program, and how messages call the plug-in of each."""
    operators = dict.fromkeys(str(node.target) for node in operator_nodes(module))
    found = ((operator, registry.brought_by(operator)) for operator in operators)
    return {operator: title for operator, title in found if title}


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _user_line(node: fx.Node) -> str:
    trace = str(node.meta.get("stack_trace") or "")
    files = [frame for frame in _FRAME.finditer(trace) if not frame["file"].startswith("<")]
    frames = [frame for frame in files if not _is_in(_OURS, frame["file"])]
    own = [frame for frame in frames if not _is_in(_PYTORCH, frame["file"])]
    chosen = own or frames
    if not chosen:
        return ""
    frame = chosen[-1]
    return f"{PurePath(frame['file']).name}:{frame['line']} in {frame['function']}"


@lru_cache(maxsize=4096)
def _is_in(folders: tuple[str, ...], file: str) -> bool:
    """Whether a file is in one of the folders; a folder is given by its path, or by its name where it may be anywhere."""
    path = PurePath(file)
    return any(path.is_relative_to(folder) or folder in path.parts for folder in folders)
