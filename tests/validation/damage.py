"""Changes artifacts as a bug in a converter would, through the library of their format."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.conftest import Delivered

Weights: TypeAlias = NDArray[np.float32]
Change: TypeAlias = Callable[[Weights], None]

__all__ = ["CHANGES", "change_channel", "change_one", "change_weights", "copy_of"]


def change_one(weights: Weights) -> None:
    """One weight, by as much as the largest there is."""
    flat = weights.reshape(-1)
    flat[flat.size // 2] += np.abs(flat).max()


def change_channel(weights: Weights) -> None:
    """One output channel, by a thousandth; the axis of 4 is that of the channels of `second`."""
    axis = weights.shape.index(4)
    view = np.moveaxis(weights, axis, 0)
    view[2] *= np.float32(1.001)


CHANGES: Mapping[str, Change] = {"one weight": change_one, "one channel": change_channel}


def copy_of(delivered: Delivered, format_id: str, folder: Path) -> Path:
    """A copy of an artifact, to be changed."""
    source = delivered.artifacts[format_id].path
    target = folder / source.name
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def change_weights(path: Path, format_id: str, size: int, change: Change) -> None:
    """Change the weights that have `size` elements, of which there must be one.

    Args:
        path: The artifact.
        format_id: Its format.
        size: Tells which weights.
        change: What is done to them, in place.
    """
    _WRITERS[format_id](path, size, change)


def _onnx(path: Path, size: int, change: Change) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    (found,) = [t for t in model.graph.initializer if np.prod(t.dims) == size]
    array = numpy_helper.to_array(found).copy()
    change(array)
    found.CopyFrom(numpy_helper.from_array(array, found.name))
    onnx.save(model, path)


def _tflite(path: Path, size: int, change: Change) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (tensor,) = [
        t
        for t in model.subgraphs[0].tensors
        if t.type == schema.TensorType.FLOAT32
        and np.prod(t.shape) == size
        and model.buffers[t.buffer].data is not None
    ]
    buffer = model.buffers[tensor.buffer]
    array = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape).copy()
    change(array)
    buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def _savedmodel(path: Path, size: int, change: Change) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    (variable,) = [v for v in loaded.weights if np.prod(v.shape) == size]
    array = variable.numpy().copy()
    change(array)
    variable.assign(array)
    aside = path.with_name("changed")
    tf.saved_model.save(loaded, str(aside), signatures=loaded.signatures)
    shutil.copytree(path / "assets.extra", aside / "assets.extra")
    shutil.rmtree(path)
    aside.rename(path)


def _torchscript(path: Path, size: int, change: Change) -> None:
    import torch

    extra = {"edgeconv.json": ""}
    module = torch.jit.load(str(path), _extra_files=extra)  # type: ignore[no-untyped-call]
    constants = [
        node.t("value")
        for node in module.inlined_graph.nodes()
        if node.kind() == "prim::Constant" and isinstance(node.output().type(), torch.TensorType)
    ]
    (found,) = [tensor for tensor in constants if tensor.numel() == size]
    change(found.numpy())  # the array shares the tensor's memory
    torch.jit.save(module, str(path), _extra_files=extra)


def _torch_export(path: Path, size: int, change: Change) -> None:
    import torch

    extra = {"edgeconv.json": ""}
    program = torch.export.load(path, extra_files=extra)
    (found,) = [t for t in program.state_dict.values() if t.numel() == size]
    change(found.detach().numpy())
    torch.export.save(program, path, extra_files=extra)


_WRITERS: Mapping[str, Callable[[Path, int, Change], None]] = {
    "onnx": _onnx,
    "savedmodel": _savedmodel,
    "tflite": _tflite,
    "torch-export": _torch_export,
    "torchscript": _torchscript,
}
