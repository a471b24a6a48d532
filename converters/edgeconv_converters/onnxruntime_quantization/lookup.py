"""Tables that rows are looked up in, such as embeddings: stored as integers, with a scale for each row.

The rows are looked up as integers and made float32 then; a `DequantizeLinear` in front would do so to all of the table at
every run.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["part_tables", "store_tables"]


def part_tables(model: ModelProto) -> None:
    """Give lookups a copy of tables that products read as well: each has its own scales for them."""
    tensors = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    others = {n for node in model.graph.node if node.op_type != "Gather" for n in node.input}
    for name in sorted(tables & others & tensors.keys()):
        copy = model.graph.initializer.add()
        copy.CopyFrom(tensors[name])
        copy.name = f"{name}/table"
        for node in model.graph.node:
            if node.op_type == "Gather" and node.input[0] == name:
                node.input[0] = copy.name


def store_tables(model: ModelProto, names: Collection[str]) -> None:
    """Store the tables of lookups as 8-bit integers.

    Args:
        model: It is changed.
        names: Of `Gather` nodes along the first axis of constant matrices.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        table = node.input[0]
        if f"{table}_quantized" not in tensors:
            for tensor in _quantize_rows(tensors[table]):
                tensors[tensor.name] = model.graph.initializer.add()
                tensors[tensor.name].CopyFrom(tensor)
        nodes += _look_up(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _quantize_rows(table: TensorProto) -> tuple[TensorProto, TensorProto]:
    rows = numpy_helper.to_array(table).astype(np.float32)
    peaks = np.abs(rows).max(axis=1, keepdims=True)
    scales = np.where(peaks > 0, peaks / 127, 1).astype(np.float32)
    integers = np.clip(np.rint(rows / scales), -127, 127).astype(np.int8)
    return (
        numpy_helper.from_array(integers, f"{table.name}_quantized"),
        numpy_helper.from_array(scales, f"{table.name}_scale"),
    )


def _look_up(node: NodeProto) -> list[NodeProto]:
    table, indices = node.input
    result = node.output[0]
    row, number, scale = (f"{result}/{part}" for part in ("row", "number", "scale"))
    return [
        helper.make_node("Gather", [f"{table}_quantized", indices], [row], name=row, axis=0),
        helper.make_node("Cast", [row], [number], name=number, to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{table}_scale", indices], [scale], name=scale, axis=0),
        helper.make_node("Mul", [number, scale], [result], name=node.name),
    ]
