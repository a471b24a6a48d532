"""Folds multiplications and additions with constants (batch norm, above all) into the weights before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.arrays import numpy_dtype

__all__ = ["fold_affine", "has_foldable_affine"]

# The axis of the weight that runs over the output channels.
_CHANNEL_AXIS = {
    "CONV_2D": 0,
    "TRANSPOSE_CONV": 0,
    "FULLY_CONNECTED": 0,
    "DEPTHWISE_CONV_2D": 3,
    "CONV_3D": 4,
    "CONV_3D_TRANSPOSE": 3,
    "CONV": 0,
    "CONV_TRANSPOSE": 1,
}
# Channels are the last axis of what is made, but of these.
_CHANNELS_FIRST = ("CONV", "CONV_TRANSPOSE")
_AFFINE = ("MUL", "ADD", "SUB", "DIV")
Vector = NDArray[np.float64]


def fold_affine(graph: Graph) -> int:
    """Fold until nothing is left to fold; sums are made in float64 and rounded once.

    Returns:
        The number of operators folded away.
    """
    total = 0
    while found := _find(graph):
        consumers = graph.consumers()
        for before, node, constant in found:
            _fold(before, node, constant, consumers)
        folded = {id(node) for _, node, _ in found}
        graph.nodes = [node for node in graph.nodes if id(node) not in folded]
        total += len(found)
    return total


def _find(graph: Graph) -> list[tuple[Node, Node, Vector]]:
    """Disjoint pairs of a weighted operator and the affine one that alone reads it."""
    producers, consumers = graph.producers(), graph.consumers()
    returned = set(graph.outputs)
    found: dict[Node, tuple[Node, Node, Vector]] = {}
    for node in graph.nodes:
        before, constant = _match(node, producers)
        if before is None or constant is None or before in found:
            continue
        is_private = len(consumers[before.output]) == 1 and before.output not in returned
        shared = len(consumers[before.input(1)]) > 1
        if is_private and not (shared and node.op in ("MUL", "DIV")):
            found[before] = (before, node, constant)
    return list(found.values())


def _match(node: Node, producers: dict[Tensor, Node]) -> tuple[Node | None, Vector | None]:
    if node.op not in _AFFINE or node.text("fused_activation_function") != "NONE":
        return None, None
    orders = [(0, 1)] if node.op in ("SUB", "DIV") else [(0, 1), (1, 0)]
    for data, other in orders:
        before = producers.get(node.input(data))
        constant = node.input(other).constant
        if before is None or constant is None or not _takes(before):
            continue
        vector = _per_channel(constant, before)
        if vector is not None and node.output.rank == before.output.rank:
            return before, vector
    return None, None


def _takes(node: Node) -> bool:
    if node.op not in _CHANNEL_AXIS or _activation(node) != "NONE":
        return False
    if node.op == "CONV_TRANSPOSE" and node.integer("groups") != 1:
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    weight = node.input(1)
    # Weights that stand for trained integers stay theirs.
    is_free = weight.is_constant and weight.quantization is None
    return is_free and (bias is None or bias.is_constant)


def _activation(node: Node) -> str:
    return str(node.attributes.get("fused_activation_function", "NONE"))


def _per_channel(constant: NDArray[np.generic], before: Node) -> Vector | None:
    """The constant as one value for each output channel, or None if it is not that."""
    output = before.output
    axis = 1 if before.op in _CHANNELS_FIRST else output.rank - 1
    channels = output.shape[axis]
    if not isinstance(channels, int) or constant.dtype.kind != "f":
        return None
    if constant.size == 1:
        return np.full(channels, constant.item(), dtype=np.float64)
    # Counted from the end, as broadcasting does.
    place = constant.ndim - (output.rank - axis)
    if place >= 0 and constant.shape[place] == constant.size == channels:
        return constant.reshape(-1).astype(np.float64)
    return None


def _fold(before: Node, node: Node, constant: Vector, consumers: dict[Tensor, list[Node]]) -> None:
    bias = before.inputs[2] if len(before.inputs) > 2 else None
    is_private = bias is not None and len(consumers[bias]) == 1
    bias_name = bias.name if bias is not None and is_private else f"{node.output.name}/bias"
    shift = np.zeros_like(constant) if bias is None else _array(bias)
    weight = before.input(1)
    if node.op in ("MUL", "DIV"):
        gain = constant if node.op == "MUL" else 1 / constant
        shape = [1] * weight.rank
        shape[_CHANNEL_AXIS[before.op]] = -1
        scaled = _array(weight) * gain.reshape(shape)
        before.inputs[1] = _constant_like(weight, scaled, weight.name)
        shift = shift * gain
    else:
        shift = shift + (constant if node.op == "ADD" else -constant)
    before.inputs = [before.inputs[0], before.inputs[1], None]
    if bias is not None or shift.any():
        before.inputs[2] = _constant_like(weight, shift, bias_name)
    before.outputs = [node.output]


def _array(tensor: Tensor) -> Vector:
    if tensor.constant is None:
        raise ValueError(f"{tensor!r} is no constant")
    return tensor.constant.astype(np.float64)


def _constant_like(weight: Tensor, values: Vector, name: str) -> Tensor:
    array = values.astype(numpy_dtype(weight.dtype))
    return Tensor(
        name=name,
        dtype=weight.dtype,
        shape=tuple(array.shape),
        constant=array,
        source=weight.source,
    )


def has_foldable_affine(graph: Graph) -> str | None:
    """None when nothing is left to fold."""
    found = _find(graph)
    return f"{found[0][1].output!r} could be folded" if found else None
