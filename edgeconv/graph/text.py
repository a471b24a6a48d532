"""The form of a graph that a person reads: one line for each operator, with shapes and source lines."""

from __future__ import annotations

from edgeconv.graph.model import Attribute, Graph, Node, Tensor
from edgeconv.graph.ops import find_op

__all__ = ["format_graph"]


def format_graph(graph: Graph) -> str:
    """The graph as text.

    Defaults of attributes are left out; a constant is shown by dtype and shape.
    """
    lines = [f"graph {graph.name}({', '.join(map(repr, graph.inputs))})"]
    lines += [
        f"  dim {dim.name}: {dim.min}..{'' if dim.max is None else dim.max}, example {dim.example}"
        for dim in graph.dims
    ]
    for node in graph.nodes:
        lines += [f"  {line}" for line in _format_node(node)]
    lines.append(f"  return {', '.join(map(repr, graph.outputs))}")
    return "\n".join(lines)


def _format_node(node: Node) -> list[str]:
    results = ", ".join(map(repr, node.outputs))
    inputs = ", ".join(_format_input(tensor) for tensor in node.inputs)
    defaults = find_op(node.op).attributes
    shown = {k: v for k, v in node.attributes.items() if defaults.get(k) != v}
    plain = [f"{k}={_format_value(v)}" for k, v in shown.items() if not isinstance(v, Graph)]
    text = f"{results} = {node.op}({inputs})"
    if plain:
        text += f" {{{', '.join(plain)}}}"
    if node.source:
        text += f"  # {node.source}"
    lines = [text]
    for key, value in shown.items():
        if isinstance(value, Graph):
            lines += [f"  {key}:", *(f"    {line}" for line in format_graph(value).splitlines())]
    return lines


def _format_input(tensor: Tensor | None) -> str:
    if tensor is None:
        return "-"
    if tensor.constant is None:
        return tensor.name
    if tensor.constant.size == 1:
        return f"{tensor.constant.item()}:{tensor.dtype}"
    return f"const {tensor!r}"


def _format_value(value: Attribute) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
