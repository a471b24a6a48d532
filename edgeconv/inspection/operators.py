"""Counts the operators of a model file, by the names its own format gives them.

Files are read with the library of their format, and nothing in them is run.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import UsageError

if TYPE_CHECKING:
    import onnx
    import torch

    from edgeconv.graph import Graph

__all__ = ["count_operators"]

# Steps of the interpreter that compute nothing.
_TORCHSCRIPT_PLUMBING = frozenset({"prim::Constant", "prim::GetAttr"})
_DEFAULT_ONNX_DOMAINS = frozenset({"", "ai.onnx"})


def count_operators(format_id: str, path: Path) -> dict[str, int]:
    """How often each operator occurs, the most frequent first.

    Args:
        format_id: Format of the file.
        path: The file or folder; it must be intact.

    Raises:
        UsageError: Nothing is known about the operators of this format.
    """
    reader = _READERS.get(format_id)
    if reader is None:
        raise UsageError(f"'{format_id}' has no operators to count", why="it is not a file format")
    counts = Counter(reader(path))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _read_edge_graph(path: Path) -> Iterator[str]:
    from edgeconv.graph.file import read_graph

    yield from _walk_edge_graph(read_graph(path))


def _walk_edge_graph(graph: Graph) -> Iterator[str]:
    from edgeconv.graph import Graph

    for node in graph.nodes:
        yield node.op
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from _walk_edge_graph(value)


def _read_onnx(path: Path) -> Iterator[str]:
    import onnx

    model = onnx.load(path, load_external_data=False)
    yield from _walk_onnx(model.graph.node)
    for function in model.functions:
        yield from _walk_onnx(function.node)


def _walk_onnx(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        is_default = node.domain in _DEFAULT_ONNX_DOMAINS
        yield node.op_type if is_default else f"{node.domain}::{node.op_type}"
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk_onnx(graph.node)


def _read_tflite(path: Path) -> Iterator[str]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    custom = schema.BuiltinOperator.CUSTOM
    for graph in model.subgraphs or ():
        for operator in graph.operators or ():
            code = model.operatorCodes[operator.opcodeIndex]
            # Files of before 2020 have the code in the older, narrower field alone.
            builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
            is_custom = builtin == custom
            yield code.customCode.decode() if is_custom else names.get(builtin, f"#{builtin}")


def _read_savedmodel(path: Path) -> Iterator[str]:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    for meta in model.meta_graphs:
        graph = meta.graph_def
        yield from (node.op for node in graph.node)
        for function in graph.library.function:
            yield from (node.op for node in function.node_def)


def _read_torchscript(path: Path) -> Iterator[str]:
    import torch

    module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    yield from _walk_torchscript(module.inlined_graph.nodes())


def _walk_torchscript(nodes: Iterable[torch.Node]) -> Iterator[str]:
    for node in nodes:
        if node.kind() not in _TORCHSCRIPT_PLUMBING:
            yield node.kind()
        for block in node.blocks():
            yield from _walk_torchscript(block.nodes())


def _read_torch_export(path: Path) -> Iterator[str]:
    import torch

    program = torch.export.load(path)
    for node in program.graph.nodes:
        if node.op == "call_function":
            yield str(node.target)


def _read_keras(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        yield from _walk_keras(json.loads(archive.read("config.json")))


def _walk_keras(config: Mapping[str, object]) -> Iterator[str]:
    """The layers of a model, and of the models inside it."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if isinstance(layers, list):
        for layer in layers:
            yield from _walk_keras(layer)
    else:
        yield str(config["class_name"])


_READERS: Mapping[str, Callable[[Path], Iterator[str]]] = {
    "edge-graph": _read_edge_graph,
    "keras": _read_keras,
    "onnx": _read_onnx,
    "savedmodel": _read_savedmodel,
    "tflite": _read_tflite,
    "torch-export": _read_torch_export,
    "torchscript": _read_torchscript,
}
