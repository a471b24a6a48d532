"""Rewrites a graph to what TFLite has kernels for: operators it lacks, and dtypes its kernels do not take.

An expansion is a function that builds the replacement of one node; the table says which operators have one and when it
applies. Everything that has none goes to the writer as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeconv.graph import Builder, Graph, Node, Tensor
from edgeconv.signature import DType

__all__ = ["legalize_for_tflite"]

# Numerator (odd powers, highest first) and denominator (even powers, highest first) of erf on [-4, 4], accurate to a
# few units in the last place of float32. Source: the rational minimax approximation that Eigen and XLA use.
_ERF_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_ERF_LIMIT = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expansion:
    """When a node is replaced, by what, and what the user is to know."""

    applies: Callable[[Node], bool]
    build: Callable[[Builder, Node], Tensor]
    warning: str = ""


def _polynomial(b: Builder, z: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    total = b.scalar(coefficients[0], z.dtype)
    for coefficient in coefficients[1:]:
        total = b.op("ADD", b.op("MUL", total, z), b.scalar(coefficient, z.dtype))
    return total


def _expand_erf(b: Builder, node: Node) -> Tensor:
    x = node.input(0)
    limit = b.scalar(_ERF_LIMIT, x.dtype)
    x = b.op("MINIMUM", b.op("MAXIMUM", x, b.scalar(-_ERF_LIMIT, x.dtype)), limit)
    z = b.op("MUL", x, x)
    numerator = b.op("MUL", x, _polynomial(b, z, _ERF_NUMERATOR))
    return b.op("DIV", numerator, _polynomial(b, z, _ERF_DENOMINATOR))


def _is_int64(node: Node) -> bool:
    return node.input(0).dtype == DType.INT64


def _in_int32(b: Builder, node: Node) -> Tensor:
    narrow = [b.op("CAST", node.input(i), dtype="int32") for i in range(len(node.inputs))]
    result = b.op(node.op, *narrow, **node.attributes)
    return b.op("CAST", result, dtype="int64")


_EXPANSIONS: Mapping[str, _Expansion] = {
    "ERF": _Expansion(applies=lambda _: True, build=_expand_erf),
    "FLOOR_DIV": _Expansion(
        applies=_is_int64,
        build=_in_int32,
        warning="integer division is done in int32, the widest that TFLite divides in",
    ),
}


def legalize_for_tflite(graph: Graph) -> list[str]:
    """Replace what TFLite has no kernel for, in the graph and the graphs inside it.

    Returns:
        What the user should know.
    """
    warnings: list[str] = []
    for part in (graph, *graph.subgraphs()):
        _legalize(part, warnings)
    return list(dict.fromkeys(warnings))


def _legalize(graph: Graph, warnings: list[str]) -> None:
    if not any(_expansion(node) for node in graph.nodes):
        return
    b = Builder(graph.name, graph.dims)
    b.prefix = "legalized"
    nodes: list[Node] = []
    for node in graph.nodes:
        expansion = _expansion(node)
        if expansion is None:
            nodes.append(node)
            continue
        b.graph.nodes, b.source = [], node.source
        expansion.build(b, node)
        # The last operator makes the tensor that everything reads already.
        b.graph.nodes[-1].outputs = [node.output]
        nodes += b.graph.nodes
        if expansion.warning:
            warnings.append(expansion.warning)
    graph.nodes = nodes


def _expansion(node: Node) -> _Expansion | None:
    found = _EXPANSIONS.get(node.op)
    return found if found is not None and found.applies(node) else None
