"""What a pass is, and the order in which the format-neutral ones run.

A pass says which properties of the graph it needs and which it leaves behind; a property is a function that looks
at the graph, so a declaration that is not true is found by running it, not by trusting it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeconv.graph import Graph, GraphError, check_graph
from edgeconv.passes.activations import join_activations
from edgeconv.passes.cleanup import clean_graph, has_dead_nodes, has_inverse_transposes
from edgeconv.passes.flatten import flatten_into_weights
from edgeconv.passes.fold import fold_affine, has_foldable_affine
from edgeconv.passes.fuse import fuse_activations, has_fusable_activations
from edgeconv.passes.layout import assign_layout
from edgeconv.passes.regroup import regroup_transposes

__all__ = ["OPTIMIZATIONS", "Pass", "run_passes"]

Property = Callable[[Graph], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One rewrite.

    Attributes:
        name: Shown in reports and errors.
        run: Rewrites the graph in place; returns how many places it changed.
        requires: Properties the graph must have before.
        ensures: Properties the graph has afterwards; each returns None, or what is wrong.
    """

    name: str
    run: Callable[[Graph], int]
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()


OPTIMIZATIONS: tuple[Pass, ...] = (
    # A formula is recognized before anything is folded into it.
    Pass(name="activations", run=join_activations),
    # The layout comes before folding: behind it a convolution and its batch norm are neighbours, without a transpose between.
    Pass(name="layout", run=assign_layout),
    Pass(name="regroup", run=regroup_transposes),
    Pass(
        name="clean",
        run=clean_graph,
        ensures=(has_dead_nodes, has_inverse_transposes),
    ),
    Pass(name="flatten", run=flatten_into_weights, requires=(has_inverse_transposes,)),
    Pass(
        name="fold",
        run=fold_affine,
        requires=(has_inverse_transposes,),
        ensures=(has_foldable_affine,),
    ),
    # An activation is fused last, since it ends the chain that can be folded into a convolution.
    Pass(
        name="fuse",
        run=fuse_activations,
        requires=(has_foldable_affine,),
        ensures=(has_fusable_activations,),
    ),
)


def run_passes(
    graph: Graph, passes: Sequence[Pass] = OPTIMIZATIONS, *, should_check: bool = False
) -> dict[str, int]:
    """Run passes over a graph and the graphs inside it, in place.

    Args:
        graph: Rewritten.
        passes: In this order.
        should_check: Whether the properties and the whole graph are checked around every pass, not only the
            graph at the end.

    Returns:
        How many places each pass changed.

    Raises:
        GraphError: A property does not hold, or the result is malformed.
    """
    changes: dict[str, int] = {}
    for item in passes:
        if should_check:
            _verify(graph, item, item.requires, "needs")
        targets = [graph, *graph.subgraphs()]
        changes[item.name] = sum(item.run(target) for target in targets)
        if should_check:
            _verify(graph, item, item.ensures, "was to ensure")
            check_graph(graph)
    check_graph(graph)
    return changes


def _verify(graph: Graph, item: Pass, properties: Sequence[Property], verb: str) -> None:
    for holds in properties:
        problem = holds(graph)
        if problem is not None:
            raise GraphError(f"pass '{item.name}' {verb}: {problem}")
