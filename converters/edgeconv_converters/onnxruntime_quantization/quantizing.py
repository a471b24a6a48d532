"""Carries out a plan: settles the precision of each operator, and applies one pass for each kind of precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from onnx import ModelProto, helper

from edgeconv.formats.record import PRECISION_KEY
from edgeconv.plugin.quantizer import (
    FLOAT32,
    Operator,
    Precision,
    QuantizationPlan,
    QuantizedFile,
)
from edgeconv.signature import DType
from edgeconv_converters.onnxruntime_quantization.boundary import make_integer_boundary
from edgeconv_converters.onnxruntime_quantization.dynamic import quantize_dynamic
from edgeconv_converters.onnxruntime_quantization.halves import to_half_precision
from edgeconv_converters.onnxruntime_quantization.integer_file import write_integer_file
from edgeconv_converters.onnxruntime_quantization.lookup import part_tables, store_tables
from edgeconv_converters.onnxruntime_quantization.opening import FloatFile
from edgeconv_converters.onnxruntime_quantization.opset import (
    PER_CHANNEL_OPSET,
    SMALL_INTEGERS_OPSET,
    raise_opset,
)
from edgeconv_converters.onnxruntime_quantization.policy import Policy
from edgeconv_converters.onnxruntime_quantization.session import Value
from edgeconv_converters.onnxruntime_quantization.static import StaticWork, quantize_static
from edgeconv_converters.onnxruntime_quantization.storing import store_weights

__all__ = ["Task", "quantize_model"]

_KINDS = ("float", "static", "half", "lookup", "dynamic", "stored")

_EMULATED = (
    "16-bit activations: ONNX Runtime has no 16-bit kernels for the processor and computes in float32 between them;"
    " the file is for hardware that has some"
)
_HALF_EMULATED = "ONNX Runtime has few half-precision kernels for the processor and casts to float32 around the other operators"
_NOTHING_BEFORE = "it only moves or clamps values, and what it reads is no integer"
_HALF_BESIDE_INTEGERS = "beside integer operators, half precision would only add casts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is quantized, and how.

    Attributes:
        file: The float file, with the weights as they are now.
        operators: Of its main graph.
        values: What ONNX Runtime knows of its values.
        policy: What there are kernels for.
        plan: What is asked for.
    """

    file: FloatFile
    operators: Sequence[Operator]
    values: Mapping[str, Value]
    policy: Policy
    plan: QuantizationPlan


def quantize_model(task: Task, path: Path) -> QuantizedFile:
    """Write the quantized model.

    Raises:
        ConversionError: The plan cannot be carried out.
        OSError: The file cannot be written.
    """
    precisions, reasons = _settle(task)
    static = {name: p for name, p in precisions.items() if p.is_static}
    model = _apply(task, precisions)
    added = make_integer_boundary(model, task.plan.io, task.plan.ranges)
    metadata = {**added, PRECISION_KEY: task.plan.default.name}
    write_integer_file(task.file, model, path, metadata)
    for name in _left_in_float(model, static):
        precisions[name], reasons[name] = FLOAT32, _NOTHING_BEFORE
    return QuantizedFile(
        precisions=precisions,
        reasons=reasons,
        versions={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        warnings=(*_warnings(precisions), *task.file.warnings),
    )


def _apply(task: Task, precisions: Mapping[str, Precision]) -> ModelProto:
    """One pass for each kind of precision; integer ranges come after what the library writes anew for the others."""
    kinds: dict[str, dict[str, Precision]] = {kind: {} for kind in _KINDS}
    for operator in task.operators:
        precision = precisions[operator.name]
        kinds[_kind_of(operator, precision)][operator.name] = precision
    model = raise_opset(_with_types(task), _needed_opset(precisions))
    if any(precision.weights.startswith("int") for precision in precisions.values()):
        part_tables(model)
    model = quantize_dynamic(model, kinds["dynamic"])
    work = StaticWork(
        operators=task.operators,
        precisions=kinds["static"],
        ranges=task.plan.ranges,
        has_float_outputs=task.plan.io == DType.FLOAT32,
    )
    model = quantize_static(model, work)
    store_weights(model, {op.name: op for op in task.operators}, kinds["stored"])
    store_tables(model, kinds["lookup"])
    return to_half_precision(model, kinds["half"])


def _kind_of(operator: Operator, precision: Precision) -> str:
    if precision == FLOAT32:
        return "float"
    if precision.is_static:
        return "static"
    if precision.activations == "float16":
        return "half"
    if operator.code == "Gather":
        return "lookup"
    return "dynamic" if precision.is_dynamic else "stored"


def _settle(task: Task) -> tuple[dict[str, Precision], dict[str, str]]:
    """The precision of each operator, and why it is not the one that was asked for."""
    asked = {op.name: task.plan.precision_of(op.name) for op in task.operators}
    has_integers = any(p.weights.startswith("int") for p in asked.values())
    precisions, reasons = {}, {}
    for operator in task.operators:
        wanted = asked[operator.name]
        reason = task.policy.refusal(operator, wanted)
        if not reason and has_integers and wanted.weights == "float16":
            reason = _HALF_BESIDE_INTEGERS
        precisions[operator.name] = FLOAT32 if reason else wanted
        if reason:
            reasons[operator.name] = reason
    return precisions, reasons


def _needed_opset(precisions: Mapping[str, Precision]) -> int:
    is_small = any(
        p.block or p.weights == "int4" or p.activations == "int16" for p in precisions.values()
    )
    return SMALL_INTEGERS_OPSET if is_small else PER_CHANNEL_OPSET


def _with_types(task: Task) -> ModelProto:
    """A copy that declares the type of each value, as ONNX Runtime found it: the library asks for it."""
    model = ModelProto()
    model.CopyFrom(task.file.model)
    del model.graph.value_info[:]
    declared = {value.name for value in (*model.graph.input, *model.graph.output)}
    for name, value in task.values.items():
        if name not in declared and value.type in _ELEMENT_TYPES:
            model.graph.value_info.append(
                helper.make_tensor_value_info(name, _ELEMENT_TYPES[value.type], None)
            )
    return model


_ELEMENT_TYPES = {
    f"tensor({name})": number
    for name, number in (
        ("float", onnx.TensorProto.FLOAT),
        ("double", onnx.TensorProto.DOUBLE),
        ("int32", onnx.TensorProto.INT32),
        ("int64", onnx.TensorProto.INT64),
        ("bool", onnx.TensorProto.BOOL),
        ("uint8", onnx.TensorProto.UINT8),
        ("int8", onnx.TensorProto.INT8),
    )
}


def _left_in_float(model: ModelProto, static: Mapping[str, Precision]) -> Iterator[str]:
    """Operators that the library left alone: what only moves or clamps values that are not integers."""
    pairs = {"DequantizeLinear": set[str](), "QuantizeLinear": set[str]()}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            pairs[node.op_type].update(node.output)
        if node.op_type == "QuantizeLinear":
            pairs[node.op_type].update(node.input)
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        is_made = pairs["DequantizeLinear"] & set(node.input)
        is_read = (pairs["QuantizeLinear"] | outputs) & set(node.output)
        if node.name in static and not (is_made and is_read):
            yield node.name


def _warnings(precisions: Mapping[str, Precision]) -> list[str]:
    kinds = {precision.activations for precision in precisions.values()}
    return [
        text
        for kind, text in (
            ("int16", _EMULATED),
            ("float16", _HALF_EMULATED),
        )
        if kind in kinds
    ]
