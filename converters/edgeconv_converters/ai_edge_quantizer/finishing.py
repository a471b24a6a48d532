"""What ai-edge-quantizer leaves undone in the tables: outputs and their names, dynamic dims, options of kernels, bytes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeconv.formats.tflite_file import StoredBuffer
from edgeconv_converters.ai_edge_quantizer.tables import Graph, Tables, code_of, present

__all__ = ["Ends", "finish_tables"]

_CASTS = ("QUANTIZE", "DEQUANTIZE")
_INT16 = schema.TensorType.INT16
_FLOAT = schema.TensorType.FLOAT32
_DYNAMIC = ("BATCH_MATMUL", "FULLY_CONNECTED")
_INNER = b"/quantized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Tensors that a graph takes and gives."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @staticmethod
    def of(graph: Graph) -> Ends:
        """Those of a graph, in its order."""
        return Ends(inputs=tuple(graph.inputs), outputs=tuple(graph.outputs))


def finish_tables(tables: Tables, before: Ends) -> None:
    """Make tables that ai-edge-quantizer changed a sound file.

    Args:
        tables: Changed in place.
        before: Inputs and outputs of the main graph when it was float.
    """
    graph = tables.subgraphs[0]
    _open_dims(tables, graph)
    for old, new in ((before.inputs, graph.inputs), (before.outputs, graph.outputs)):
        moved = {a: b for a, b in zip(old, new, strict=True) if a != b}
        _redirect_signatures(tables, moved)
        _swap_names(graph, moved)
    for operator in graph.operators:
        _set_options(tables, graph, operator)
    _drop_unread(graph)
    _store(tables)


def _open_dims(tables: Tables, graph: Graph) -> None:
    """Casts were given the example's shape, not the dims that are open in it."""
    for operator in graph.operators:
        if code_of(tables, operator) in _CASTS:
            source = graph.tensors[operator.inputs[0]]
            target = graph.tensors[operator.outputs[0]]
            target.shape, target.shapeSignature = source.shape, source.shapeSignature
            target.hasRank = source.hasRank


def _redirect_signatures(tables: Tables, moved: Mapping[int, int]) -> None:
    for definition in tables.signatureDefs:
        if definition.subgraphIndex == 0:
            for entry in (*definition.inputs, *definition.outputs):
                entry.tensorIndex = moved.get(entry.tensorIndex, entry.tensorIndex)


def _swap_names(graph: Graph, moved: Mapping[int, int]) -> None:
    """What the graph takes and gives has the name it had, also where a cast stands between."""
    for inside, outside in moved.items():
        inner, outer = graph.tensors[inside], graph.tensors[outside]
        inner.name, outer.name = inner.name + _INNER, inner.name


def _set_options(tables: Tables, graph: Graph, operator: Any) -> None:  # noqa: ANN401 - untyped library
    """Options that kernels for integers read."""
    options = operator.builtinOptions
    types = [graph.tensors[index].type for index in present(operator.inputs)]
    changes: dict[str, object] = {}
    if hasattr(options, "potScaleInt16") and _INT16 in types:
        # Set by default, and wrong for every scale that is no power of two.
        changes["potScaleInt16"] = False
    if code_of(tables, operator) in _DYNAMIC and types[:2] == [_FLOAT, schema.TensorType.INT8]:
        # With a zero point, activations of one sign use all of the integer's range.
        changes["asymmetricQuantizeInputs"] = True
    if changes:
        operator.builtinOptions = copy.copy(options)
        for name, value in changes.items():
            setattr(operator.builtinOptions, name, value)


def _drop_unread(graph: Graph) -> None:
    """Let go of constants that nothing reads any more."""
    read = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        read.update(operator.inputs)
    read.update(
        tensor.quantization.details.scales
        for tensor in graph.tensors
        if tensor.quantization is not None and tensor.quantization.details is not None
    )
    for index, tensor in enumerate(graph.tensors):
        if index not in read:
            tensor.buffer = 0


def _store(tables: Tables) -> None:
    """Buffers as the file's writer takes them, without the bytes that nothing refers to."""
    used = {entry.buffer for entry in tables.metadata}
    used.update(tensor.buffer for graph in tables.subgraphs for tensor in graph.tensors)
    tables.buffers = [
        StoredBuffer(buffer.data if index in used else None)
        for index, buffer in enumerate(tables.buffers)
    ]
