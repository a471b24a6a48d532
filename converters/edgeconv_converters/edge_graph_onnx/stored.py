"""Stores what was trained as integers as integers: ONNX Runtime fuses the operators that read them into integer kernels."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.graph.model import Constant
from edgeconv.graph.quantization import Quantization
from edgeconv.passes.integer_offsets import store_integers_as
from edgeconv.plugin import Json
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_onnx.emitter import Emitter, place_of

__all__ = ["add_constant", "count_between_integers", "ready_for_integers"]

_WEIGHTED = ("CONV", "FULLY_CONNECTED")
_ACTIVATIONS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
_LIMITS = np.iinfo(np.int32)


def ready_for_integers(graph: Graph) -> None:
    """Bring layers between integers into the form that ONNX Runtime fuses, in place.

    Activations have no sign: on x86 ONNX Runtime takes the sign off where one layer alone reads them, and then finds layers with
    a sign on one side only, which it leaves in float.
    """
    store_integers_as(graph, DType.UINT8)
    _drop_activations(graph)
    _quantize_biases(graph)


def _drop_activations(graph: Graph) -> None:
    """Leave out activations that cut off only what the integers behind them cut off as well."""
    consumers, returned = graph.consumers(), set(graph.outputs)
    dropped: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        node.inputs = [None if t is None else dropped.get(t, t) for t in node.inputs]
        if node.op not in _ACTIVATIONS or node.output in returned:
            continue
        readers = consumers.get(node.output, [])
        if readers and all(_covers(reader, *_ACTIVATIONS[node.op]) for reader in readers):
            dropped[node.output] = node.input(0)
    graph.remove_dead_nodes()


def _covers(node: Node, low: float, high: float) -> bool:
    """Whether a node makes the least integer of all that is no more than `low`, and the greatest of what is no less than `high`."""
    if node.op != "QUANTIZE":
        return False
    limits = np.iinfo(node.output.dtype.value)
    steps = np.array([low, high]) / np.float32(node.real("scale")) + node.integer("zero_point")
    return bool(steps[0] <= limits.min and steps[1] >= limits.max)


def _quantize_biases(graph: Graph) -> None:
    """Give biases the steps of the products that they are added to: a layer with a bias in float stays in float."""
    producers = graph.producers()
    for node in graph.nodes:
        bias = node.inputs[2] if node.op in _WEIGHTED and len(node.inputs) > 2 else None
        before = producers.get(node.input(0)) if bias is not None else None
        if bias is None or before is None or before.op != "DEQUANTIZE":
            continue
        node.inputs[2] = _in_steps(bias, before.real("scale"), node.input(1)) or bias


def _in_steps(bias: Tensor, scale: float, weight: Tensor) -> Tensor | None:
    stored = weight.quantization
    if bias.constant is None or stored is None or not stored.is_symmetric:
        return None
    step = np.float32(scale) * np.asarray(stored.scales, np.float32)
    if (np.abs(bias.constant.astype(np.float32) / step) >= _LIMITS.max).any():
        return None
    return Tensor(
        name=bias.name,
        dtype=bias.dtype,
        shape=bias.shape,
        constant=bias.constant,
        source=bias.source,
        quantization=Quantization(
            dtype=DType.INT32,
            scales=tuple(step.tolist()),
            zero_points=(0,) * step.size,
            axis=None if stored.axis is None else 0,
        ),
    )


def count_between_integers(graph: Graph) -> dict[str, Json]:
    """For the details of the step: how many operators read and make integers, and how many of each do not; empty without any."""
    ends = ("QUANTIZE", "DEQUANTIZE")
    if not any(node.op in ends for node in graph.nodes):
        return {}
    producers, consumers = graph.producers(), graph.consumers()
    left: Counter[str] = Counter()
    count = 0
    for node in graph.nodes:
        if node.op in ends:
            continue
        makers = [producers.get(t) for t in node.inputs if t is not None and not t.is_constant]
        readers = [reader for tensor in node.outputs for reader in consumers.get(tensor, [])]
        is_between = all(maker and maker.op == "DEQUANTIZE" for maker in makers)
        if is_between and readers and all(reader.op == "QUANTIZE" for reader in readers):
            count += 1
        else:
            left[node.op] += 1
    return {"integer_operators": count, "float_operators": dict(sorted(left.items()))}


def add_constant(emitter: Emitter, tensor: Tensor) -> str:
    """The name of a constant: an initializer, or what is made of one that holds integers."""
    array, known = tensor.constant, tensor.quantization
    if array is None:
        raise ValueError(f"{tensor!r} is no constant")
    if known is None:
        return emitter.constants.add(array, tensor.dtype, tensor.name)
    key = (place_of(array), known)
    if key not in emitter.dequantized:
        emitter.dequantized[key] = _dequantize(emitter, tensor.name, known, array)
    return emitter.dequantized[key]


def _dequantize(emitter: Emitter, name: str, known: Quantization, array: Constant) -> str:
    """Without a sign, as activations are: sums of signed ones saturate on x86 processors without VNNI instructions."""
    if known.dtype == DType.INT8:
        known = known.stored_as(DType.UINT8)
    count = () if known.axis is None else (len(known.scales),)
    scales = np.asarray(known.scales, np.float32).reshape(count)
    points = np.asarray(known.zero_points).astype(numpy_dtype(known.dtype)).reshape(count)
    inputs = (
        emitter.constants.add(known.integers(array), known.dtype, f"{name}/integers"),
        emitter.constants.add(scales, DType.FLOAT32, f"{name}/scale"),
        emitter.constants.add(points, known.dtype, f"{name}/zero_point"),
    )
    axis = {} if known.axis is None else {"axis": known.axis}
    return emitter.op("DequantizeLinear", *inputs, **axis)
