"""What ONNX Runtime's processor provider computes in which precision.

Found by trial: each operator was put between quantize-dequantize pairs, and the graph that ONNX Runtime made of it when it
opened the file was looked at; `tests/converters/onnxruntime_quantization/test_policy.py` does so again.

- 8-bit static: the operators of `KERNELS` become integer kernels, or move integers without looking at them.
- 16-bit static: quantize-dequantize pairs have 16-bit kernels, but what stands between them computes in float32. That is
  emulation: accuracy as on hardware that has 16-bit kernels, at the speed of float32.
- dynamic: `MatMulInteger` and what it is fused into, `ConvInteger`, `DynamicQuantizeLSTM`.
- weights only: `DequantizeLinear` for whole tensors; for blocks `MatMulNBits`, which there is for matrix products only.
- half precision: every operator runs, most of them with casts to float32 around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from packaging.version import Version

from edgeconv.plugin.quantizer import FLOAT32, Operator, Precision
from edgeconv_converters.onnxruntime_quantization.halves import FLOAT_ONLY
from edgeconv_converters.onnxruntime_quantization.nodes import attributes_of
from edgeconv_converters.onnxruntime_quantization.session import Value

__all__ = ["KERNELS", "Kernels", "Policy", "find_kernels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """What a version of ONNX Runtime has for static 8-bit integers, as measured.

    Attributes:
        since: The first version that this holds of.
        computing: Operators with integer kernels. `Relu` and `Clip` have none, but vanish into the scale of what they
            read, or are left as a change of scale.
        moving: Operators that move integers, where input and output have the same scale.
        dynamic: Operators whose activations can become integers while the model runs.
    """

    since: Version
    computing: frozenset[str]
    moving: frozenset[str]
    dynamic: frozenset[str]


KERNELS: tuple[Kernels, ...] = (
    # Measured with 1.23.2 and 1.32.0, which differ in none of these.
    Kernels(
        since=Version("1.23"),
        computing=frozenset(
            {
                "Add",
                "AveragePool",
                "Clip",
                "Concat",
                "Conv",
                "Gemm",
                "GlobalAveragePool",
                "LeakyRelu",
                "MatMul",
                "Mul",
                "Relu",
                "Sigmoid",
                "Softmax",
                "Where",
            }
        ),
        moving=frozenset(
            {
                "DepthToSpace",
                "Expand",
                "Flatten",
                "Gather",
                "MaxPool",
                "Reshape",
                "Resize",
                "Slice",
                "Split",
                "Squeeze",
                "Tile",
                "Transpose",
                "Unsqueeze",
            }
        ),
        dynamic=frozenset({"Conv", "Gemm", "LSTM", "MatMul"}),
    ),
)
"""By version, the oldest first."""


def find_kernels(version: str) -> Kernels:
    """What holds of a version: what was measured with the newest one that is not newer."""
    known = [kernels for kernels in KERNELS if kernels.since <= Version(version)]
    return known[-1] if known else KERNELS[0]


def _find_beyond_half(model: ModelProto) -> Iterator[str]:
    """Float constants with finite values that half precision has no number for."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            sizes = np.abs(numpy_helper.to_array(tensor))
            if np.any((sizes > np.finfo(np.float16).max) & np.isfinite(sizes)):
                yield tensor.name


class Policy:
    """Says why an operator of a model has no kernel.

    Args:
        model: The prepared model.
        values: What ONNX Runtime knows of its values.
    """

    def __init__(self, model: ModelProto, values: Mapping[str, Value]) -> None:
        self._nodes: dict[str, NodeProto] = {node.name: node for node in model.graph.node}
        self._constants = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
        self._beyond_half = set(_find_beyond_half(model))
        self._values = values
        self._kernels = find_kernels(onnxruntime.__version__)

    def refusal(self, operator: Operator, precision: Precision) -> str:
        """Why no kernel computes an operator in a precision; empty if one does."""
        if precision == FLOAT32:
            return ""
        if not any(
            self._values[name].is_float for name in operator.outputs if name in self._values
        ):
            return "it computes no float32 values"
        if precision.activations == "float16":
            return self._half_refusal(operator)
        if precision.is_static:
            return self._static_refusal(operator, precision)
        if precision.is_dynamic:
            return self._dynamic_refusal(operator, precision)
        return self._storage_refusal(operator, precision)

    def _half_refusal(self, operator: Operator) -> str:
        if operator.code in FLOAT_ONLY:
            return "onnxruntime.transformers.float16 leaves it in float32"
        if self._beyond_half & set(operator.inputs):
            # The library would store the largest number there is, without a word.
            return (
                "half precision cannot hold a constant that it reads: the largest number is 65504"
            )
        return ""

    def _static_refusal(self, operator: Operator, precision: Precision) -> str:
        if precision.weights != "int8":
            return "ONNX Runtime's integer kernels have 8-bit weights"
        code = operator.code
        if code not in self._kernels.computing | self._kernels.moving:
            return f"ONNX Runtime has no integer kernel for {code} on the processor"
        if code in {"Conv", "Gemm"}:
            return self._product_refusal(operator)
        return self._attribute_refusal(operator)

    def _attribute_refusal(self, operator: Operator) -> str:
        """Why the kernel that there is does not take this operator."""
        code, attributes = operator.code, self._attributes(operator)
        has_constant = any(name in self._constants for name in operator.inputs[:2])
        if code == "MatMul" and has_constant and operator.weights is None:
            return "one side of the product is constant, but is no matrix on the right"
        if code == "AveragePool" and "dilations" in attributes:
            return "ONNX Runtime's integer average pooling knows no dilations"
        if code == "Resize" and attributes.get("mode", b"nearest") != b"nearest":
            return "ONNX Runtime resizes integers by the nearest neighbour only"
        return ""

    def _product_refusal(self, operator: Operator) -> str:
        if operator.weights is None:
            return "its weights are not constant"
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] != ""
        if has_bias and not operator.weights.bias:
            return "its bias is not constant, or not one number for each output channel"
        return ""

    def _dynamic_refusal(self, operator: Operator, precision: Precision) -> str:
        if precision.weights != "int8":
            return "ONNX Runtime's integer kernels have 8-bit weights"
        if operator.code == "Gather":
            return self._lookup_refusal(operator)
        if operator.weights is None and operator.code != "LSTM":
            return "it has no constant weights"
        if operator.code not in self._kernels.dynamic:
            return f"ONNX Runtime quantizes no {operator.code} while it runs"
        if operator.code == "LSTM":
            return self._recurrent_refusal(operator)
        return self._product_refusal(operator) or self._factor_refusal(operator)

    def _storage_refusal(self, operator: Operator, precision: Precision) -> str:
        if operator.code == "Gather":
            is_byte = precision.weights == "int8"
            return self._lookup_refusal(operator) if is_byte else "tables are stored in 8 bits only"
        if operator.code in {"GRU", "LSTM", "RNN"} and not precision.block:
            return self._recurrent_refusal(operator)
        if operator.weights is None:
            return "it has no constant weights"
        if not precision.block:
            return ""
        if operator.code not in {"Gemm", "MatMul"}:
            return "ONNX Runtime has blockwise weights for matrix products only"
        return self._product_refusal(operator) or self._factor_refusal(operator)

    def _recurrent_refusal(self, operator: Operator) -> str:
        is_constant = all(name in self._constants for name in operator.inputs[1:3])
        return "" if is_constant else "its weights are not constant"

    def _lookup_refusal(self, operator: Operator) -> str:
        axis = self._attributes(operator).get("axis", 0)
        is_table = self._constants.get(operator.inputs[0], 0) == 2 and axis == 0
        return "" if is_table else "it looks up no rows of a constant table"

    def _factor_refusal(self, operator: Operator) -> str:
        """Gemm with a factor cannot be split into a product and a sum."""
        attributes = self._attributes(operator)
        is_plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
        return "" if is_plain else "it multiplies its product or its bias by a factor"

    def _attributes(self, operator: Operator) -> dict[str, object]:
        return attributes_of(self._nodes[operator.name])
