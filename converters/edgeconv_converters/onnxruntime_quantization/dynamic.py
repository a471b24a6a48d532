"""Weights in 8-bit integers, and activations that become integers while the model runs, by onnxruntime.quantization."""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, add_infer_metadata

from edgeconv.errors import ConversionError
from edgeconv_converters.onnxruntime_quantization.products import split_gemms
from edgeconv_converters.onnxruntime_quantization.unsigned import store_unsigned

__all__ = ["DYNAMIC_OPERATORS", "quantize_dynamic"]

DYNAMIC_OPERATORS = ("Conv", "Gemm", "LSTM", "MatMul")
"""What the library can write with integers that come about while the model runs."""

_HIDDEN = "edgeconv.Gemm"


def quantize_dynamic(model: ModelProto, names: Collection[str]) -> ModelProto:
    """Let the library rewrite the operators with these names.

    Args:
        model: With the types of all values; it is used up.
        names: Of operators whose type is one of `DYNAMIC_OPERATORS`.

    Raises:
        ConversionError: The library fails.
    """
    if not names:
        return model
    split_gemms(model, names)
    add_infer_metadata(model)
    known = _names(model)
    # The library splits every Gemm, also those that are to stay: they would not be fused with their bias any more.
    _rename_operators(model, "Gemm", _HIDDEN)
    try:
        quantizer = ONNXQuantizer(
            model,
            True,  # noqa: FBT003 - per channel; the library takes it by position
            False,  # noqa: FBT003 - weights use all of their range
            QuantizationMode.IntegerOps,
            False,  # noqa: FBT003 - dynamic
            QuantType.QInt8,
            QuantType.QUInt8,
            None,
            sorted(names),
            [],
            list(DYNAMIC_OPERATORS),
            {"MatMulConstBOnly": True},
        )
        quantizer.quantize_model()
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise ConversionError(
            "onnxruntime.quantization cannot quantize the model dynamically",
            why=str(error).partition("\n")[0] or type(error).__name__,
        ) from error
    result: ModelProto = quantizer.model.model
    _rename_operators(result, _HIDDEN, "Gemm")
    _set_apart(result, known)
    store_unsigned(result)
    return result


def _names(model: ModelProto) -> set[str]:
    """Of values, weights and nodes."""
    graph = model.graph
    values = {value.name for value in (*graph.input, *graph.initializer, *graph.node)}
    return values | {name for node in graph.node for name in node.output}


def _set_apart(model: ModelProto, known: Collection[str]) -> None:
    """Name what the library added otherwise than it does for static integers of the same value."""
    added = {name: f"{name}/dynamic" for name in _names(model) - set(known) if name}
    for part in (*model.graph.initializer, *model.graph.node):
        part.name = added.get(part.name, part.name)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = added.get(name, name)


def _rename_operators(model: ModelProto, before: str, after: str) -> None:
    for node in model.graph.node:
        if node.op_type == before:
            node.op_type = after
