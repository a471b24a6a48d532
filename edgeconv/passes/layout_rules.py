"""Which operators work in any layout, and how their attributes follow when the axes are permuted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeconv.dims import Size
from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.ops import find_op
from edgeconv.passes.shuffles import SHUFFLE
from edgeconv.signature import to_channels_first as channels_first
from edgeconv.signature import to_channels_last as channels_last

__all__ = [
    "channels_first",
    "channels_last",
    "is_agnostic",
    "is_layout_change",
    "is_single",
    "numel",
    "permute_attributes",
    "read_channels_last",
    "reads_either",
]

RANKS = (3, 4, 5)


def _permute_list(node: Node, name: str, perm: Sequence[int]) -> None:
    values: tuple[Size, ...] = node.sizes(name)
    node.attributes[name] = tuple(values[axis] for axis in perm)


def _permute_lists(*names: str) -> Callable[[Node, Sequence[int]], None]:
    def apply(node: Node, perm: Sequence[int]) -> None:
        for name in names:
            _permute_list(node, name, perm)

    return apply


def _permute_axis(node: Node, perm: Sequence[int]) -> None:
    node.attributes["axis"] = perm.index(node.integer("axis") % len(perm))


def _permute_axes(node: Node, perm: Sequence[int]) -> None:
    axes = [perm.index(axis % len(perm)) for axis in node.integers("axes")]
    node.attributes["axes"] = tuple(sorted(axes))


_RULES: dict[str, Callable[[Node, Sequence[int]], None]] = {
    "CONCATENATION": _permute_axis,
    "SPLIT_V": _permute_axis,
    SHUFFLE: _permute_axis,
    "CUMSUM": _permute_axis,
    "PAD": _permute_lists("before", "after"),
    "PADV2": _permute_lists("before", "after"),
    "MIRROR_PAD": _permute_lists("before", "after"),
    "STRIDED_SLICE": _permute_lists("begin", "end", "strides"),
    "TILE": _permute_lists("multiples"),
    "BROADCAST_TO": _permute_lists("shape"),
    "REVERSE_V2": _permute_axes,
    "SUM": _permute_axes,
    "MEAN": _permute_axes,
    "REDUCE_MAX": _permute_axes,
    "REDUCE_MIN": _permute_axes,
    "REDUCE_PROD": _permute_axes,
    "REDUCE_ANY": _permute_axes,
    "REDUCE_ALL": _permute_axes,
}
# What takes axes away, and how its attributes follow.
_REDUCTIONS: dict[str, Callable[[Node, Sequence[int]], None]] = {
    "ARG_MAX": _permute_axis,
    "ARG_MIN": _permute_axis,
    **{op: rule for op, rule in _RULES.items() if rule is _permute_axes and op != "REVERSE_V2"},
}


def is_agnostic(node: Node) -> bool:
    """Whether the node can work on permuted inputs and then makes permuted outputs."""
    if node.op not in _RULES and not find_op(node.op).is_agnostic:
        return False
    rank = node.outputs[0].rank
    if rank not in RANKS or ("keep_dims" in node.attributes and not node.flag("keep_dims")):
        return False
    return all(t is None or t.rank == rank or t.is_constant or is_single(t) for t in node.inputs)


def is_single(tensor: Tensor) -> bool:
    """Whether a tensor of any rank holds one element, which is the same in every layout."""
    return all(size == 1 for size in tensor.shape)


def reads_either(node: Node) -> bool:
    """Whether the node makes the same of an input in either layout: it reduces, and what is left keeps its order."""
    if node.op not in _REDUCTIONS or node.attributes.get("keep_dims", False):
        return False
    rank = node.input(0).rank
    listed = node.integers("axes") if "axes" in node.attributes else (node.integer("axis"),)
    reduced = {axis % rank for axis in listed}
    left = [axis for axis in channels_last(rank) if axis not in reduced]
    return rank in RANKS and left == sorted(left)


def read_channels_last(node: Node, twin: Tensor) -> None:
    """Let a node that reads either layout read the channels-last twin of its input."""
    _REDUCTIONS[node.op](node, channels_last(twin.rank))
    node.inputs = [twin]


def permute_attributes(node: Node, perm: Sequence[int]) -> None:
    """Make the attributes right for inputs whose axes were permuted."""
    rule = _RULES.get(node.op)
    if rule is not None:
        rule(node, perm)


def is_layout_change(node: Node, perm: Callable[[int], tuple[int, ...]]) -> bool:
    """Whether the node is the transpose that `perm` gives for its rank."""
    if node.op != "TRANSPOSE" or node.output.rank not in RANKS:
        return False
    return node.integers("perm") == perm(node.output.rank)


def numel(tensor: Tensor, graph: Graph) -> int:
    """The number of elements at the example sizes."""
    from edgeconv.dims import evaluate, product

    return evaluate(product(tensor.shape), {dim.name: dim.example for dim in graph.dims})
