"""Counts the weights of a model file: the numbers in its constants that are no sizes, axes or indices.

Files are read with the library of their format, and nothing in them is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["count_parameters"]


def count_parameters(format_id: str, path: Path) -> int | None:
    """How many weights a file holds; None where nothing is known about its format.

    Floating-point and complex numbers count, and the small integers that quantized weights are.

    Args:
        format_id: Format of the file.
        path: The file or folder; it must be intact.
    """
    reader = _READERS.get(format_id)
    return None if reader is None else sum(reader(path))


def _read_edge_graph(path: Path) -> Iterator[int]:
    from edgeconv.graph.file import read_graph

    for tensor in read_graph(path).constants():
        if tensor.constant is not None and _is_weight(tensor.dtype.value):
            yield int(tensor.constant.size)


def _read_onnx(path: Path) -> Iterator[int]:
    import onnx

    model = onnx.load(path, load_external_data=False)
    yield from _walk_onnx(model.graph)


def _walk_onnx(graph: onnx.GraphProto) -> Iterator[int]:
    import onnx

    for tensor in graph.initializer:
        name = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        if _is_weight("float32" if name == "float" else "float64" if name == "double" else name):
            yield prod(tensor.dims)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _walk_onnx(inner)


def _read_tflite(path: Path) -> Iterator[int]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    names = {code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()}
    seen: set[int] = set()
    for graph in model.subgraphs or ():
        for tensor in graph.tensors or ():
            buffer = model.buffers[tensor.buffer]
            is_constant = buffer.data is not None or buffer.size
            if is_constant and tensor.buffer not in seen and _is_weight(names[tensor.type]):
                seen.add(tensor.buffer)
                yield prod(int(size) for size in tensor.shape) if tensor.shape is not None else 1


def _read_savedmodel(path: Path) -> Iterator[int]:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    dtypes = reader.get_variable_to_dtype_map()
    for name, shape in reader.get_variable_to_shape_map().items():
        if _is_weight(dtypes[name].name):
            yield prod(shape)
    # Small weights, such as biases, may be constants of the graph; scalars are numbers of the operators.
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    for node in (*graph.node, *(n for f in graph.library.function for n in f.node_def)):
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        sizes = [int(dim.size) for dim in tensor.tensor_shape.dim] if tensor is not None else []
        if tensor is not None and sizes and _is_weight(tf.as_dtype(tensor.dtype).name):
            yield prod(sizes)


def _read_torchscript(path: Path) -> Iterator[int]:
    import torch

    module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    tensors = {*module.parameters()}
    for node in module.inlined_graph.nodes():  # of a frozen module, weights are constants
        if node.kind() == "prim::Constant" and str(node.output().type()) == "Tensor":
            tensors.add(node.t("value"))
    yield from (t.numel() for t in tensors if t.dim() and _is_weight(str(t.dtype)[6:]))


def _is_weight(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex", "int4", "int8", "uint8"))


_READERS: Mapping[str, Callable[[Path], Iterator[int]]] = {
    "edge-graph": _read_edge_graph,
    "onnx": _read_onnx,
    "savedmodel": _read_savedmodel,
    "tflite": _read_tflite,
    "torchscript": _read_torchscript,
}
