"""Removes what does nothing: dead nodes, transposes, reshapes and casts that undo each other, doubled work."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.signature import DType

__all__ = [
    "clean_graph",
    "compose",
    "has_dead_nodes",
    "has_inverse_transposes",
    "is_trivial_transpose",
]

_Producers = Mapping[Tensor, Node]
# Constants up to so many elements are compared by value.
_MAX_COMPARED_ELEMENTS = 64


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
    seen: dict[Hashable, list[Tensor]] = {}
    outputs = set(graph.outputs)
    changed = 0
    for node in graph.nodes:
        node.inputs = [None if t is None else renamed.get(t, t) for t in node.inputs]
        simplify = _SIMPLIFICATIONS.get(node.op)
        if simplify is not None:
            changed += simplify(node, producers)
        changed += _replace(node, _replacement(node, seen), producers, outputs, renamed)
    graph.outputs = [renamed.get(t, t) for t in graph.outputs]
    return changed + graph.remove_dead_nodes()


def _replace(
    node: Node,
    results: list[Tensor] | None,
    producers: _Producers,
    outputs: set[Tensor],
    renamed: dict[Tensor, Tensor],
) -> int:
    """Let readers of a node's outputs read others; an output of the graph keeps its name."""
    if results is None:
        return 0
    results = [renamed.get(tensor, tensor) for tensor in results]
    pairs = list(zip(node.outputs, results, strict=True))
    # An input, a constant or another output of the graph: the copy is needed.
    if any(old in outputs and (new not in producers or new in outputs) for old, new in pairs):
        return 0
    for old, new in pairs:
        if old in outputs:
            new.name, old.name = old.name, new.name
            outputs.add(new)
        renamed[old] = new
    return 1


def _merge_reshapes(node: Node, producers: _Producers) -> int:
    return _look_through(node, producers, lambda _: None)


def _merge_transposes(node: Node, producers: _Producers) -> int:
    def adopt(before: Node) -> None:
        node.attributes["perm"] = compose(before.integers("perm"), node.integers("perm"))

    changed = _look_through(node, producers, adopt)
    if is_trivial_transpose(node.input(0), node.integers("perm")):
        node.op = "RESHAPE"
        node.attributes = {"shape": node.output.shape}
        return changed + 1
    return changed


def _merge_casts(node: Node, producers: _Producers) -> int:
    before = producers.get(node.input(0))
    if before is None or before.op != "CAST" or not _is_widening(before):
        return 0
    return _look_through(node, producers, lambda _: None)


def _look_through(node: Node, producers: _Producers, adopt: Callable[[Node], None]) -> int:
    """Read what the same operator before this one reads."""
    before = producers.get(node.input(0))
    if before is None or before.op != node.op:
        return 0
    adopt(before)
    node.inputs[0] = before.input(0)
    return 1


_WIDER: Mapping[DType, tuple[DType, ...]] = {
    DType.BOOL: tuple(dtype for dtype in DType if not dtype.is_complex),
    DType.INT32: (DType.INT64, DType.FLOAT64),
    DType.FLOAT32: (DType.FLOAT64,),
    DType.FLOAT16: (DType.FLOAT32, DType.FLOAT64),
    DType.BFLOAT16: (DType.FLOAT32, DType.FLOAT64),
    **dict.fromkeys((DType.INT8, DType.INT16), (DType.INT32, DType.INT64, DType.FLOAT32)),
    **dict.fromkeys((DType.UINT8, DType.UINT16), (DType.INT32, DType.INT64, DType.FLOAT32)),
}


def _is_widening(node: Node) -> bool:
    """Whether a cast keeps every value."""
    return node.output.dtype in _WIDER.get(node.input(0).dtype, ())


def _read_indices_uncast(node: Node, producers: _Producers) -> int:
    """Indices may be int32 as well as int64."""
    position = 0 if node.op == "ONE_HOT" else 1
    before = producers.get(node.input(position))
    if before is None or before.op != "CAST" or before.input(0).dtype != DType.INT32:
        return 0
    node.inputs[position] = before.input(0)
    return 1


_SIMPLIFICATIONS: Mapping[str, Callable[[Node, _Producers], int]] = {
    "CAST": _merge_casts,
    "GATHER": _read_indices_uncast,
    "GATHER_ELEMENTS": _read_indices_uncast,
    "GATHER_ND": _read_indices_uncast,
    "ONE_HOT": _read_indices_uncast,
    "RESHAPE": _merge_reshapes,
    "TRANSPOSE": _merge_transposes,
}


def _replacement(node: Node, seen: dict[Hashable, list[Tensor]]) -> list[Tensor] | None:
    """The tensors that already are what the node makes, or None."""
    if _is_identity(node):
        return [node.input(0)]
    if node.op == "SELECT_V2" and (chosen := _chosen(node)) is not None:
        return [chosen]
    inputs = tuple(map(_key, node.inputs))
    first = seen.setdefault((node.op, inputs, frozenset(node.attributes.items())), node.outputs)
    return None if first is node.outputs else first


def _is_identity(node: Node) -> bool:
    if node.op == "TRANSPOSE":
        return list(node.integers("perm")) == list(range(node.output.rank))
    if node.op == "RESHAPE":
        return node.input(0).shape == node.output.shape
    return node.op == "CAST" and node.input(0).dtype == node.output.dtype


def _chosen(node: Node) -> Tensor | None:
    """What a mask that is the same everywhere selects, where that has the shape of the result."""
    mask = node.input(0).constant
    if mask is None or not mask.size or mask.min() != mask.max():
        return None
    tensor = node.input(1 if mask.flat[0] else 2)
    return tensor if tensor.shape == node.output.shape else None


def _key(tensor: Tensor | None) -> Hashable:
    """What is the same for two tensors that hold the same."""
    if tensor is None or tensor.constant is None or tensor.constant.size > _MAX_COMPARED_ELEMENTS:
        return tensor
    return tensor.dtype, tensor.shape, tensor.constant.tobytes()


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
