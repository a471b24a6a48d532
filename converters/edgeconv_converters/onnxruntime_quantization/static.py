"""Integers throughout, by onnxruntime.quantization: quantize-dequantize pairs that ONNX Runtime fuses into integer kernels.

Activations are unsigned 8-bit integers, or signed 16-bit ones; weights are symmetric, with a scale for each output channel;
biases have 32 bits. Unsigned, because on x86 ONNX Runtime's kernels multiply unsigned by signed: it makes signed pairs
unsigned itself when it opens a file, but not signed constants, so that an addition of one would be left in float32. On
ARM both are computed equally fast. 16-bit pairs have no integer kernels: ONNX Runtime computes in float32 between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.base_quantizer import QuantizationParams
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer, QDQTensorQuantInfo
from onnxruntime.quantization.quant_utils import add_infer_metadata

from edgeconv.errors import ConversionError
from edgeconv.plugin.quantizer import Operator, Precision, Range
from edgeconv_converters.onnxruntime_quantization.float_parts import (
    keep_float_between_float,
    keep_float_outputs,
    leave_outputs_float,
)
from edgeconv_converters.onnxruntime_quantization.nodes import attributes_of
from edgeconv_converters.onnxruntime_quantization.unsigned import store_unsigned
from edgeconv_converters.onnxruntime_quantization.widths import find_types

__all__ = ["StaticWork", "quantize_static"]

# Those whose output the library gives a scale of its own.
_MOVING = frozenset({"DepthToSpace", "Expand", "Tile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticWork:
    """Which operators become integers, and how.

    Attributes:
        operators: All of the model.
        precisions: Of those that are to be static, by name.
        ranges: By tensor name.
        has_float_outputs: Whether outputs are wanted in float32.
    """

    operators: Sequence[Operator]
    precisions: Mapping[str, Precision]
    ranges: Mapping[str, Range]
    has_float_outputs: bool = True


def quantize_static(model: ModelProto, work: StaticWork) -> ModelProto:
    """Put quantize-dequantize pairs around operators, and integers in place of their weights.

    Args:
        model: With the types of all values; it is used up.
        work: What is to be done.

    Raises:
        ConversionError: A range is missing, or the library fails.
    """
    if not work.precisions:
        return model
    work = replace(work, ranges=_share_ranges(work))
    _require_ranges(model, work)
    made_by = {name: node.name for node in model.graph.node for name in node.output}
    add_infer_metadata(model)
    try:
        quantizer = _PairQuantizer(model, work)
        result: ModelProto = quantizer.quantize_model()
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise ConversionError(
            "onnxruntime.quantization cannot quantize the model",
            why=str(error).partition("\n")[0] or type(error).__name__,
        ) from error
    eight_bit = [name for name, p in work.precisions.items() if p.activations == "int8"]
    store_unsigned(result, eight_bit)
    keep_float_outputs(result, set(work.precisions))
    keep_float_between_float(result, set(work.precisions))
    if work.has_float_outputs:
        leave_outputs_float(result, made_by)
    return result


def _share_ranges(work: StaticWork) -> dict[str, Range]:
    """Ranges such that what only moves values does so without another scale, where the library does not see to it."""
    ranges = dict(work.ranges)
    for operator in work.operators:
        if operator.code in _MOVING and operator.inputs[0] in ranges:
            ranges[operator.outputs[0]] = ranges[operator.inputs[0]]
    return ranges


class _PairQuantizer(QDQQuantizer):  # type: ignore[misc]
    """The library's quantizer, which takes activations away only where their range says the same."""

    tensors_to_quantize: dict[str, QDQTensorQuantInfo]

    def __init__(self, model: ModelProto, work: StaticWork) -> None:
        self._limits = {
            node.output[0]: limits for node in model.graph.node if (limits := _limits(model, node))
        }
        self._given = work.ranges
        by_name = {operator.name: operator for operator in work.operators}
        super().__init__(
            model,
            True,  # noqa: FBT003 - per channel; the library takes it by position
            False,  # noqa: FBT003 - weights use all of their range
            QuantType.QInt8,
            QuantType.QUInt8,
            {
                name: TensorData(lowest=np.float32(r.low), highest=np.float32(r.high))
                for name, r in work.ranges.items()
            },
            sorted(work.precisions),
            [],
            sorted({by_name[name].code for name in work.precisions}),
            {"TensorQuantOverrides": find_types(model, work.operators, work.precisions)},
        )

    def _calc_initializer_quant_params(self) -> dict[str, QuantizationParams]:
        """The scales of weights; those for each channel at once: the library takes one after the other, in half of its time.

        Where a version of it does not call this, it is slower, and all is as before.
        """
        everything = self.tensors_to_quantize
        params: dict[str, QuantizationParams] = {
            name: _scale_channels(self.initializers[name], info.axis)
            for name, info in everything.items()
            if info.axis is not None
        }
        self.tensors_to_quantize = {n: info for n, info in everything.items() if n not in params}
        params |= super()._calc_initializer_quant_params()
        self.tensors_to_quantize = everything
        return params

    def try_replacing_upstream_output(self, upstream_output_name: str, output_name: str) -> bool:
        """Take a clamp away if no integer of its output's scale lies outside of what it lets through."""
        limits, range_ = self._limits.get(output_name), self._given.get(output_name)
        if limits is None or range_ is None:
            return False
        if min(range_.low, 0.0) < limits[0] or max(range_.high, 0.0) > limits[1]:
            return False
        return bool(super().try_replacing_upstream_output(upstream_output_name, output_name))


def _scale_channels(tensor: TensorProto, axis: int) -> QuantizationParams:
    """Symmetric 8-bit scales, as the library computes them."""
    array = numpy_helper.to_array(tensor)
    others = tuple(a for a in range(array.ndim) if a != axis % array.ndim)
    scales = 2 * np.abs(array).max(axis=others, initial=0).astype(np.float64) / 254
    scales = np.where(scales < np.finfo(np.float32).tiny, 1.0, scales).astype(np.float32)
    return QuantizationParams(
        zero_point=np.zeros(len(scales), np.int8),
        scale=scales,
        quant_type=TensorProto.INT8,
        axis=axis,
    )


def _limits(model: ModelProto, node: NodeProto) -> tuple[float, float] | None:
    """Between what values a clamp lets through, if these are constants."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    if node.op_type != "Clip":
        return None
    stored = attributes_of(node)
    ends = [float(str(stored.get("min", "-inf"))), float(str(stored.get("max", "inf")))]
    for index, name in enumerate(node.input[1:3]):
        tensor = next((t for t in model.graph.initializer if t.name == name), None)
        if name and tensor is None:
            return None
        if tensor is not None:
            ends[index] = float(numpy_helper.to_array(tensor).item())
    return ends[0], ends[1]


def _require_ranges(model: ModelProto, work: StaticWork) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    floats = {
        value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == 1
    }
    floats |= {
        value.name
        for value in (*model.graph.input, *model.graph.output)
        if value.type.tensor_type.elem_type == 1
    }
    missing = sorted(
        {
            name
            for operator in work.operators
            if operator.name in work.precisions
            for name in (*operator.inputs, *operator.outputs)
            if name in floats and name not in constants and name not in work.ranges
        }
    )
    if missing:
        raise ConversionError(
            "activations have no range",
            why="a static recipe needs the range of every activation it makes integers of",
            details=missing,
        )
