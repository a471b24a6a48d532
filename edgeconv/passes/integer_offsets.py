"""Stores quantized values with a sign or without: the zero point moves along, and every real value stays what it is."""

from __future__ import annotations

from edgeconv.graph import Graph
from edgeconv.graph.quantization import offset_between
from edgeconv.signature import DType

__all__ = ["store_integers_as"]

_BYTES = (DType.INT8, DType.UINT8)


def store_integers_as(graph: Graph, dtype: DType) -> int:
    """Give what QUANTIZE makes another dtype of one byte, in place, where nothing but DEQUANTIZE reads it.

    Returns:
        The number of tensors that changed.
    """
    consumers, returned = graph.consumers(), set(graph.outputs)
    changed = 0
    for node in graph.nodes:
        made = node.outputs[0]
        if node.op != "QUANTIZE" or made.dtype not in _BYTES or made.dtype == dtype:
            continue
        readers = consumers.get(made, [])
        if made in returned or any(reader.op != "DEQUANTIZE" for reader in readers):
            continue
        offset = offset_between(made.dtype, dtype)
        for each in (node, *readers):
            each.attributes["zero_point"] = each.integer("zero_point") + offset
        node.attributes["dtype"], made.dtype = dtype.value, dtype
        changed += 1
    return changed
