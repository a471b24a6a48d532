"""Rewrites operators that XNNPACK leaves to TFLite's own kernels into ones that it takes, which compute the same.

Every operator that a delegate leaves cuts the graph in two, copies at the cut, and runs on a slower kernel. What XNNPACK takes
was found by asking it: `tests/converters/test_delegated.py` does so again. Only operators on float32 are rewritten, since
it takes no other; values are the same bit by bit, but for convolutions of volumes, which sum in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from edgeconv.dims import is_static
from edgeconv.graph import Builder, Graph, Node, Tensor
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.volumes import convolve_by_planes

__all__ = ["prefer_delegated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """What makes and what reads each tensor of the graph as it was, and numbers that were chosen by a mask before."""

    producers: Mapping[Tensor, Node]
    consumers: Mapping[Tensor, list[Node]]
    returned: frozenset[Tensor]
    chosen: dict[tuple[Tensor, float, float], Tensor] = field(default_factory=dict)


Rule = Callable[[Builder, Node, _Surroundings], Sequence[Tensor] | None]

_MOST_JOINED = 5
_FARTHEST = 8
_LOWEST = float(np.finfo(np.float32).min)
_MOST_MIRRORED = 2
_HIGHEST_RANK = 5
_NOT_NEGATIVE = frozenset(
    ("RELU", "RELU6", "RELU_0_TO_1", "LOGISTIC", "SOFTMAX", "EXP", "SQUARE", "ABS", "SQRT")
)
_FUSED_NOT_NEGATIVE = ("RELU", "RELU6")
_PASSING = (
    "CONCATENATION",
    "ADD",
    "MUL",
    "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
    "RESHAPE",
    "TRANSPOSE",
    "STRIDED_SLICE",
)


def prefer_delegated(graph: Graph) -> int:
    """Rewrite a graph and the graphs inside it, in place.

    Returns:
        The number of operators that were replaced.
    """
    return sum(_rewrite(part) for part in [graph, *graph.subgraphs()])


def _rewrite(graph: Graph) -> int:
    around = _Surroundings(
        producers=graph.producers(),
        consumers=graph.consumers(),
        returned=frozenset(graph.outputs),
    )
    made = [tensor for node in graph.nodes for tensor in node.outputs]
    names = [tensor.name for tensor in (*graph.inputs, *graph.constants(), *made)]
    builder = Builder(graph.name, graph.dims, taken=names)
    nodes: list[Node] = []
    waiting = graph.nodes[::-1]
    count = 0
    while waiting:
        node = waiting.pop()
        new = _replacement(builder, node, around)
        if new is None:
            nodes.append(node)
        else:
            waiting += new[::-1]  # what replaces it may itself be better replaced
            count += 1
    graph.nodes = nodes
    return count


def _replacement(builder: Builder, node: Node, around: _Surroundings) -> list[Node] | None:
    rule = _RULES.get(node.op)
    if rule is None or any(tensor.dtype != DType.FLOAT32 for tensor in node.outputs):
        return None
    builder.graph.nodes, builder.source = [], node.source
    builder.prefix = node.outputs[0].name
    results = rule(builder, node, around)
    if results is None:
        return None
    made = builder.graph.nodes
    makers = {tensor: (maker, i) for maker in made for i, tensor in enumerate(maker.outputs)}
    for old, new in zip(node.outputs, results, strict=True):
        maker, index = makers[new]
        maker.outputs[index] = old
        for reader in made:
            reader.inputs = [old if tensor is new else tensor for tensor in reader.inputs]
    return made


def _split(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """One slice for each part."""
    x, sizes = node.input(0), node.sizes("sizes")
    if not is_static(x.shape) or x.rank > _HIGHEST_RANK:
        return None
    axis = node.integer("axis") % x.rank
    ends = list(accumulate(int(str(size)) for size in sizes))
    parts = []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        parts.append(_slice(b, x, axis, begin, end))
    return parts


def _slice(b: Builder, x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    first, last = [0] * x.rank, list(x.shape)
    first[axis], last[axis] = begin, end
    strides = (1,) * x.rank
    return b.op("STRIDED_SLICE", x, begin=tuple(first), end=tuple(last), strides=strides)


def _slice_in_steps(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """Steps along an axis are the first of each group, once the axis is cut into groups."""
    x, strides = node.input(0), node.integers("strides")
    stepped = [axis for axis, stride in enumerate(strides) if stride != 1]
    if len(stepped) != 1 or not is_static(x.shape) or x.rank >= _HIGHEST_RANK:
        return None
    (axis,) = stepped
    count, stride = int(str(node.output.shape[axis])), strides[axis]
    first, end = list(node.integers("begin")), list(node.integers("end"))
    size = int(str(x.shape[axis]))
    lacking = first[axis] + count * stride - size
    if lacking > 0:
        # The groups may begin earlier, with another one of each taken, or the last one is filled up.
        earlier = first[axis] - lacking
        if earlier >= 0 and lacking < stride:
            first[axis] = earlier
        else:
            after = tuple(lacking if i == axis else 0 for i in range(x.rank))
            x = b.op("PAD", x, before=(0,) * x.rank, after=after)
    offset = node.integers("begin")[axis] - first[axis]
    end[axis] = first[axis] + count * stride
    bounds = {"begin": tuple(first), "end": tuple(end), "strides": (1,) * x.rank}
    part = b.op("STRIDED_SLICE", x, **bounds)
    rest = part.shape[axis + 1 :]
    groups = b.op("RESHAPE", part, shape=(*part.shape[:axis], count, stride, *rest))
    taken = _slice(b, groups, axis + 1, offset, offset + 1)
    return [b.op("RESHAPE", taken, shape=node.output.shape)]


def _pack(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """A concatenation along a new axis."""
    if len(node.inputs) > _MOST_JOINED or node.output.rank > _HIGHEST_RANK:
        return None
    axis = node.integer("axis") % node.output.rank
    shape = (*node.output.shape[:axis], 1, *node.output.shape[axis + 1 :])
    if not is_static(shape):
        return None
    parts = [b.op("RESHAPE", node.input(i), shape=shape) for i in range(len(node.inputs))]
    return [b.node("CONCATENATION", parts, axis=axis).output]


def _concatenate(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """As many at a time as it takes, and so on with what comes of it."""
    parts = [node.input(i) for i in range(len(node.inputs))]
    if len(parts) <= _MOST_JOINED or not is_static(node.output.shape):
        return None
    axis = node.integer("axis")
    while len(parts) > 1:
        groups = [parts[i : i + _MOST_JOINED] for i in range(0, len(parts), _MOST_JOINED)]
        parts = [
            group[0] if len(group) == 1 else b.node("CONCATENATION", group, axis=axis).output
            for group in groups
        ]
    return parts


def _broadcast(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """A product with ones, which stand only along the axes that grow."""
    x, shape = node.input(0), node.sizes("shape")
    if not is_static(shape) or not is_static(x.shape) or len(shape) > _HIGHEST_RANK:
        return None
    before = (1,) * (len(shape) - x.rank) + x.shape
    ones = tuple(1 if old == new else new for old, new in zip(before, shape, strict=True))
    if x.is_constant:
        return None
    grown = b.constant(np.ones([int(str(size)) for size in ones], np.float32))
    return [b.op("MUL", x, grown)]


def _pad(b: Builder, node: Node, around: _Surroundings) -> Sequence[Tensor] | None:
    """Zeros, where only maxima of what is not negative are taken of it; else pieces that are joined on."""
    x, value = node.input(0), node.input(1).constant
    if value is None or not is_static(x.shape) or x.rank > _HIGHEST_RANK:
        return None
    before, after = node.integers("before"), node.integers("after")
    is_free = value.item() < 0 and _is_pooled(node, around) and _is_positive(x, around)
    if value.item() == 0 or is_free:
        return [b.op("PAD", x, before=before, after=after)]
    for axis, sizes in enumerate(zip(before, after, strict=True)):
        pieces = [_piece(b, x, axis, size, value.item()) for size in sizes]
        joined = [t for t in (pieces[0], x, pieces[1]) if t is not None]
        x = b.node("CONCATENATION", joined, axis=axis).output if len(joined) > 1 else x
    return [x]


def _piece(b: Builder, x: Tensor, axis: int, size: int, value: float) -> Tensor | None:
    if size <= 0:
        return None
    shape = [int(str(s)) for s in x.shape]
    shape[axis] = size
    return b.constant(np.full(shape, value, np.float32))


def _mirror(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """Rows of the image joined on, one by one: worth it for the few that filters ask for."""
    x, before, after = node.input(0), node.integers("before"), node.integers("after")
    if not is_static(x.shape) or x.rank > _HIGHEST_RANK or max(*before, *after) > _MOST_MIRRORED:
        return None
    skipped = 1 if node.text("mode") == "REFLECT" else 0
    for axis, (first, last) in enumerate(zip(before, after, strict=True)):
        size = int(str(x.shape[axis]))
        rows = [index + skipped for index in range(first)][::-1]
        ends = [size - 1 - skipped - index for index in range(last)]
        cut = [[_slice(b, x, axis, i, i + 1) for i in indices] for indices in (rows, ends)]
        pieces = [*cut[0], x, *cut[1]]
        x = b.node("CONCATENATION", pieces, axis=axis).output if len(pieces) > 1 else x
    return [x]


def _repeat_pixels(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    """An image that grows by whole factors, each pixel as often: a product with ones."""
    x, wanted = node.input(0), node.output.shape
    if not is_static((*x.shape, *wanted)) or node.flag("align_corners"):
        return None
    n, h, w, channels = (int(str(size)) for size in x.shape)
    rows, columns = int(str(wanted[1])), int(str(wanted[2]))
    if rows % h or columns % w:
        return None
    ones = b.constant(np.ones((1, rows // h, 1, columns // w, 1), np.float32))
    pixels = b.op("RESHAPE", x, shape=(n * h, 1, w, 1, channels))
    return [b.op("RESHAPE", b.op("MUL", pixels, ones), shape=wanted)]


def _is_pooled(node: Node, around: _Surroundings) -> bool:
    """Whether nothing reads the padding but pooling for maxima, whose windows all reach into the image."""
    readers = around.consumers.get(node.output, [])
    return node.output not in around.returned and all(r.op == "MAX_POOL_2D" for r in readers)


def _is_positive(x: Tensor, around: _Surroundings, distance: int = 0) -> bool:
    """Whether no value of a tensor can be below zero, as far as the operators before it tell."""
    maker = around.producers.get(x)
    if maker is None or distance > _FARTHEST:
        return False
    if maker.op in _NOT_NEGATIVE:
        return True
    if maker.attributes.get("fused_activation_function") in _FUSED_NOT_NEGATIVE:
        return True
    if maker.op not in _PASSING:
        return False
    return all(_is_positive(t, around, distance + 1) for t in maker.inputs if t is not None)


def _select(b: Builder, node: Node, around: _Surroundings) -> Sequence[Tensor] | None:
    """A mask that hides values behind the lowest number there is, or shares behind zero.

    The smaller one of a value and a limit, or a product with one or zero: limits and factors are made once for each mask,
    which every layer of a model reads.
    """
    mask, shown, hidden = node.input(0), node.input(1), node.input(2)
    is_inverted = shown.is_constant
    if is_inverted:
        shown, hidden = hidden, shown
    value = hidden.constant
    if shown.is_constant or value is None or value.size != 1:
        return None
    if shown.rank > _HIGHEST_RANK or shown.shape != node.output.shape:
        return None
    if value.item() <= _LOWEST:
        op, choices = "MINIMUM", (math.inf, value.item())
    elif value.item() == 0 and _is_share(shown, around):
        op, choices = "MUL", (1.0, 0.0)
    else:
        return None
    by_mask = _choose(b, mask, choices[::-1] if is_inverted else choices, around)
    return [b.op(op, shown, by_mask)]


def _is_share(x: Tensor, around: _Surroundings) -> bool:
    """Whether a tensor is a softmax behind a mask of finite numbers: what is hidden of any other one may be NaN."""
    maker = around.producers.get(x)
    before = around.producers.get(maker.input(0)) if maker and maker.op == "SOFTMAX" else None
    if before is None or before.op != "SELECT_V2":
        return False
    constants = [t.constant for t in before.inputs[1:] if t is not None and t.constant is not None]
    return bool(constants) and all(bool(np.isfinite(value).all()) for value in constants)


def _choose(
    b: Builder, mask: Tensor, choices: tuple[float, float], around: _Surroundings
) -> Tensor:
    """One number where the mask is set and another where it is not; the same tensor for the same question."""
    if mask.constant is not None:
        return b.constant(np.where(mask.constant, *map(np.float32, choices)))
    key = (mask, *choices)
    if key not in around.chosen:
        around.chosen[key] = b.op("SELECT_V2", mask, *(b.scalar(c, DType.FLOAT32) for c in choices))
    return around.chosen[key]


def _clamp_to_one(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor]:
    return [b.op("MINIMUM", b.op("RELU", node.input(0)), b.scalar(1, DType.FLOAT32))]


def _convolve(b: Builder, node: Node, _: _Surroundings) -> Sequence[Tensor] | None:
    result = convolve_by_planes(b, node)
    return None if result is None else [result]


_RULES: Mapping[str, Rule] = {
    "BROADCAST_TO": _broadcast,
    "CONCATENATION": _concatenate,
    "CONV_3D": _convolve,
    "MIRROR_PAD": _mirror,
    "PACK": _pack,
    "PADV2": _pad,
    "RELU_0_TO_1": _clamp_to_one,
    "RESIZE_NEAREST_NEIGHBOR": _repeat_pixels,
    "SELECT_V2": _select,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _slice_in_steps,
}
