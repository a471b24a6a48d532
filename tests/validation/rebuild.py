"""Artifacts rebuilt with another signature, as a converter that does not keep it would build them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tests.conftest import Delivered
from tests.formats.models import Port

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Fault", "rebuild"]

Fault: TypeAlias = Literal[
    "exchanged outputs", "narrowed output", "narrowed input", "fixed batch", "renamed input"
]
Proto: TypeAlias = Any  # of libraries without types


def rebuild(delivered: Delivered, format_id: str, fault: Fault, path: Path) -> Path:
    """Write an artifact with one fault to `path`, with the record that it was delivered with."""
    _BUILDERS[format_id](delivered, fault, path)
    return path


def _module(delivered: Delivered, fault: Fault) -> nn.Module:
    """The model behind a forward with a fault."""
    import torch
    from torch import nn

    class Faulty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = delivered.example.module.eval()

        def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
            given = [x.long() if x.dtype == torch.int32 else x for x in inputs]
            outputs = tuple(self.inner(*given).values())
            if fault == "exchanged outputs":
                return outputs[::-1]
            if fault == "narrowed output":
                return tuple(y.int() if y.dtype == torch.int64 else y for y in outputs)
            if fault == "fixed batch":
                return tuple(y.reshape(2, *y.shape[1:]) for y in outputs)
            return outputs

    names = [port.name for port in delivered.example.takes]
    if fault == "renamed input":
        names[0] = "renamed"
    arguments = ", ".join(names)
    scope: dict[str, Any] = {}
    exec(f"def forward(self, {arguments}):\n    return self.run({arguments})\n", scope)
    faulty: nn.Module = type("Faulty", (Faulty,), {"forward": scope["forward"]})()
    return faulty


def _inputs(delivered: Delivered, fault: Fault) -> tuple[Tensor, ...]:
    import torch

    inputs = tuple(delivered.example.inputs.values())
    if fault == "narrowed input":
        return tuple(x.int() if x.dtype == torch.int64 else x for x in inputs)
    return inputs


def _torch_export(delivered: Delivered, fault: Fault, path: Path) -> None:
    import torch

    extra = {"edgeconv.json": ""}
    torch.export.load(delivered.artifacts["torch-export"].path, extra_files=extra)
    size = torch.export.Dim("N")
    inputs = _inputs(delivered, fault)
    shapes = None if fault == "fixed batch" else tuple({0: size} for _ in inputs)
    program = torch.export.export(_module(delivered, fault), inputs, dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files=extra)


def _torchscript(delivered: Delivered, fault: Fault, path: Path) -> None:
    import torch

    extra = {"edgeconv.json": ""}
    torch.jit.load(str(delivered.artifacts["torchscript"].path), _extra_files=extra)  # type: ignore[no-untyped-call]
    module = _module(delivered, fault)
    traced = torch.jit.trace(module, _inputs(delivered, fault), check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(torch.jit.freeze(traced.eval()), str(path), _extra_files=extra)


def _onnx(delivered: Delivered, fault: Fault, path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(delivered.artifacts["onnx"].path)
    graph = model.graph
    if fault == "exchanged outputs":
        first, second = (value.name for value in graph.output)
        for node in graph.node:
            for index, name in enumerate(node.output):
                node.output[index] = {first: second, second: first}.get(name, name)
    elif fault == "narrowed output":
        _narrow_output(graph, TensorProto.INT32)
    elif fault == "narrowed input":
        (value,) = [v for v in graph.input if v.type.tensor_type.elem_type == TensorProto.INT64]
        wide = f"{value.name}_wide"
        _rename(graph, value.name, wide)
        value.type.tensor_type.elem_type = TensorProto.INT32
        graph.node.insert(0, helper.make_node("Cast", [value.name], [wide], to=TensorProto.INT64))
    elif fault == "fixed batch":
        for value in graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 2
    else:
        _rename(graph, graph.input[0].name, "renamed")
        graph.input[0].name = "renamed"
    onnx.save(model, path)


def _narrow_output(graph: Proto, dtype: int) -> None:
    from onnx import helper

    (value,) = [v for v in graph.output if v.type.tensor_type.elem_type == 7]
    wide = f"{value.name}_wide"
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == value.name:
                node.output[index] = wide
    graph.node.append(helper.make_node("Cast", [wide], [value.name], to=dtype))
    value.type.tensor_type.elem_type = dtype


def _rename(graph: Proto, old: str, new: str) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _tflite(delivered: Delivered, fault: Fault, path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(delivered.artifacts["tflite"].path.read_bytes())
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    narrow, wide = schema.TensorType.INT32, schema.TensorType.INT64
    if fault == "exchanged outputs":
        first, second = signature.outputs
        first.tensorIndex, second.tensorIndex = second.tensorIndex, first.tensorIndex
    elif fault == "narrowed output":
        (operator,) = [o for o in graph.operators if hasattr(o.builtinOptions, "outputType")]
        operator.builtinOptions.outputType = narrow
        graph.tensors[operator.outputs[0]].type = narrow
    elif fault == "narrowed input":
        for index in graph.inputs:
            tensor = graph.tensors[index]
            tensor.type = narrow if tensor.type == wide else tensor.type
    elif fault == "fixed batch":
        for tensor in graph.tensors:
            tensor.shapeSignature = None
    else:
        signature.inputs[0].name = b"renamed"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def _savedmodel(delivered: Delivered, fault: Fault, path: Path) -> None:
    import tensorflow as tf

    source = delivered.artifacts["savedmodel"].path
    loaded = tf.saved_model.load(str(source))
    function = loaded.signatures["serving_default"]

    def spec(port: Port) -> tuple[str, Proto]:
        is_narrow = fault == "narrowed input" and port.dtype == "int64"
        batch = 2 if fault == "fixed batch" else None
        name = "renamed" if fault == "renamed input" and port is ports[0] else port.name
        dtype = "int32" if is_narrow else port.dtype
        return name, tf.TensorSpec((batch, *port.shape[1:]), dtype, name=name)

    ports = delivered.example.takes

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(**inputs: Proto) -> dict[str, Proto]:
        given = {
            port.name: tf.cast(value, port.dtype)
            for port, value in zip(ports, (inputs[spec(p)[0]] for p in ports), strict=True)
        }
        outputs = function(**given)
        if fault == "exchanged outputs":
            first, second = outputs
            return {first: outputs[second], second: outputs[first]}
        if fault == "narrowed output":
            return {
                n: tf.cast(y, "int32") if y.dtype == tf.int64 else y for n, y in outputs.items()
            }
        return dict(outputs)

    concrete = serve.get_concrete_function(**dict(spec(port) for port in ports))
    loaded.serve = serve
    tf.saved_model.save(loaded, str(path), signatures={"serving_default": concrete})
    shutil.copytree(source / "assets.extra", path / "assets.extra")


_BUILDERS: Mapping[str, Callable[[Delivered, Fault, Path], None]] = {
    "onnx": _onnx,
    "savedmodel": _savedmodel,
    "tflite": _tflite,
    "torch-export": _torch_export,
    "torchscript": _torchscript,
}
