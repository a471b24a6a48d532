"""A NumPy evaluation of the few operators that pass tests need: independent of every writer and runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeconv.graph import Graph, Node, Tensor

Array = NDArray[np.float64]


def evaluate_graph(graph: Graph, inputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of a graph in float64."""
    values: dict[Tensor, Array] = {t: inputs[t.name] for t in graph.inputs}

    def value(tensor: Tensor | None) -> Array:
        if tensor is None:
            return np.zeros(())
        if tensor.constant is not None:
            return tensor.constant.astype(np.float64)
        return values[tensor]

    for node in graph.nodes:
        arrays = [value(tensor) for tensor in node.inputs]
        results = _EVALUATORS[node.op](node, arrays)
        for tensor, result in zip(node.outputs, results, strict=True):
            values[tensor] = _activate(node, result)
    return [value(tensor) for tensor in graph.outputs]


def _activate(node: Node, x: Array) -> Array:
    match node.attributes.get("fused_activation_function", "NONE"):
        case "RELU":
            return np.maximum(x, 0)
        case "RELU6":
            return np.clip(x, 0, 6)
        case _:
            return x


def _pointwise_convolution(node: Node, arrays: list[Array]) -> list[Array]:
    x, weight, *bias = arrays
    return [np.einsum("nhwc,oc->nhwo", x, weight[:, 0, 0, :]) + (bias[0] if bias else 0)]


def _pad(node: Node, arrays: list[Array]) -> list[Array]:
    widths = list(zip(node.integers("before"), node.integers("after"), strict=True))
    return [np.pad(arrays[0], widths)]


def _slice(node: Node, arrays: list[Array]) -> list[Array]:
    bounds = zip(
        node.integers("begin"), node.integers("end"), node.integers("strides"), strict=True
    )
    return [arrays[0][tuple(slice(*bound) for bound in bounds)]]


_EVALUATORS: dict[str, Callable[[Node, list[Array]], list[Array]]] = {
    "ADD": lambda n, a: [a[0] + a[1]],
    "SUB": lambda n, a: [a[0] - a[1]],
    "MUL": lambda n, a: [a[0] * a[1]],
    "RELU": lambda n, a: [np.maximum(a[0], 0)],
    "RELU6": lambda n, a: [np.clip(a[0], 0, 6)],
    "TANH": lambda n, a: [np.tanh(a[0])],
    "TRANSPOSE": lambda n, a: [a[0].transpose(n.integers("perm"))],
    "RESHAPE": lambda n, a: [a[0].reshape(n.integers("shape"))],
    "CONCATENATION": lambda n, a: [np.concatenate(a, axis=n.integer("axis"))],
    "MEAN": lambda n, a: [a[0].mean(axis=n.integers("axes"), keepdims=n.flag("keep_dims"))],
    "PAD": _pad,
    "STRIDED_SLICE": _slice,
    "CONV_2D": _pointwise_convolution,
    "FULLY_CONNECTED": lambda n, a: [a[0] @ a[1].T + (a[2] if len(a) > 2 else 0)],
}
