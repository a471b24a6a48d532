"""The operators of a prepared ONNX model, as the shared parts of quantization know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgeconv.plugin.quantizer import Dependence, Operator, Weights
from edgeconv_converters.onnxruntime_quantization.nodes import attributes_of, first_output
from edgeconv_converters.onnxruntime_quantization.session import Value

__all__ = ["describe_operators"]

DEPENDENCES: Mapping[str, Dependence] = MappingProxyType(
    {
        "AveragePool": Dependence.HOMOGENEOUS,
        "Concat": Dependence.CONCATENATION,
        "DepthToSpace": Dependence.SHAPE,
        "Flatten": Dependence.SHAPE,
        "GlobalAveragePool": Dependence.HOMOGENEOUS,
        "GlobalMaxPool": Dependence.HOMOGENEOUS,
        "Identity": Dependence.SHAPE,
        "LeakyRelu": Dependence.HOMOGENEOUS,
        "MaxPool": Dependence.HOMOGENEOUS,
        "Relu": Dependence.HOMOGENEOUS,
        "Reshape": Dependence.SHAPE,
        "SpaceToDepth": Dependence.SHAPE,
        "Squeeze": Dependence.SHAPE,
        "Transpose": Dependence.SHAPE,
        "Unsqueeze": Dependence.SHAPE,
    }
)
"""What holds of an operator whatever its attributes; means over space and padding are looked at one by one."""

# Operators behind which the channels may be at another axis, or be none any more.
_MOVING = frozenset({"Concat", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SPATIAL = frozenset(
    {"AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}
)


def describe_operators(
    model: ModelProto, values: Mapping[str, Value], sources: Mapping[str, str]
) -> tuple[Operator, ...]:
    """Every node of the main graph, in the order of the file, which is one in which they can run."""
    return _Reader(model, values, sources).read()


class _Reader:
    def __init__(
        self, model: ModelProto, values: Mapping[str, Value], sources: Mapping[str, str]
    ) -> None:
        self._nodes = model.graph.node
        self._outputs = {value.name for value in model.graph.output}
        self._tensors: dict[str, TensorProto] = {t.name: t for t in model.graph.initializer}
        self._values = values
        self._sources = sources
        self._axes: dict[str, int] = {}

    def read(self) -> tuple[Operator, ...]:
        return tuple(self._describe(node) for node in self._nodes)

    def _describe(self, node: NodeProto) -> Operator:
        axis = self._channel_axis(node)
        dependence = self._dependence(node)
        if node.op_type == "ReduceMean" and dependence is Dependence.HOMOGENEOUS:
            axis = self._axis_behind_mean(node)
        for name in node.output:
            self._axes[name] = axis
        return Operator(
            name=node.name,
            code=node.op_type,
            inputs=tuple(node.input),
            outputs=tuple(name for name in node.output if name),
            dependence=dependence,
            weights=self._weights(node),
            channel_axis=axis,
            source=self._sources.get(first_output(node), ""),
        )

    def _rank(self, name: str) -> int:
        if name in self._tensors:
            return len(self._tensors[name].dims)
        return len(self._values[name].shape) if name in self._values else 0

    def _channel_axis(self, node: NodeProto) -> int:
        if node.op_type in _SPATIAL:
            return 1
        if node.op_type in {"Gemm", "MatMul"} or not node.input:
            return -1
        if node.op_type not in _MOVING and self._rank(node.input[0]) == self._rank(node.output[0]):
            return self._axis_of(node.input[0])
        return 1 if self._rank(first_output(node)) >= 4 else -1

    def _axis_of(self, name: str) -> int:
        return self._axes.get(name, 1 if self._rank(name) >= 4 else -1)

    def _dependence(self, node: NodeProto) -> Dependence:
        if node.op_type == "ReduceMean":
            return self._dependence_of_mean(node)
        if node.op_type == "Pad":
            return self._dependence_of_padding(node)
        return DEPENDENCES.get(node.op_type, Dependence.OTHER)

    def _dependence_of_mean(self, node: NodeProto) -> Dependence:
        """Homogeneous over other axes than that of the channels and that of the batch."""
        axes, rank = self._integers(node, 1, "axes"), self._rank(node.input[0])
        if not axes or not rank:
            return Dependence.OTHER
        kept = {0, self._axis_of(node.input[0]) % rank}
        reduced = {axis % rank for axis in axes}
        return Dependence.OTHER if kept & reduced else Dependence.HOMOGENEOUS

    def _axis_behind_mean(self, node: NodeProto) -> int:
        """Where the channels are, once the axes before them may be gone."""
        rank = self._rank(node.input[0])
        axis = self._axis_of(node.input[0]) % rank
        if attributes_of(node).get("keepdims", 1):
            return axis
        gone = [a % rank for a in self._integers(node, 1, "axes")]
        return axis - sum(a < axis for a in gone)

    def _dependence_of_padding(self, node: NodeProto) -> Dependence:
        """Homogeneous with zeros, or what stands at the edge, beside other axes than that of the channels."""
        pads, rank = self._integers(node, 1, "pads"), self._rank(node.input[0])
        if len(pads) != 2 * rank or any(node.input[3:]):
            return Dependence.OTHER
        axis = self._axis_of(node.input[0]) % rank
        is_constant = attributes_of(node).get("mode", b"constant") == b"constant"
        if pads[axis] or pads[axis + rank] or (is_constant and self._padded_with(node) != 0):
            return Dependence.OTHER
        return Dependence.HOMOGENEOUS

    def _padded_with(self, node: NodeProto) -> float:
        if len(node.input) < 3 or not node.input[2]:
            return float(str(attributes_of(node).get("value", 0.0)))
        tensor = self._tensors.get(node.input[2])
        return float("nan") if tensor is None else float(numpy_helper.to_array(tensor).item())

    def _integers(self, node: NodeProto, index: int, attribute: str) -> list[int]:
        """Integers that older operator sets have as an attribute and newer ones as an input."""
        stored = attributes_of(node).get(attribute)
        if isinstance(stored, list):
            return [int(value) for value in stored]
        name = node.input[index] if len(node.input) > index else ""
        tensor = self._tensors.get(name)
        return [] if tensor is None else [int(v) for v in numpy_helper.to_array(tensor).reshape(-1)]

    def _weights(self, node: NodeProto) -> Weights | None:
        if len(node.input) < 2 or node.input[0] in self._tensors:
            return None
        tensor = self._tensors.get(node.input[1])
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return None
        read = {
            "Conv": self._conv_weights,
            "ConvTranspose": self._transposed_conv_weights,
            "Gemm": self._gemm_weights,
        }.get(node.op_type)
        if node.op_type == "MatMul" and len(tensor.dims) == 2:
            bias = self._added(node, tensor.dims[1])
            return Weights(tensor=tensor.name, output_axis=1, input_axis=0, bias=bias)
        weights = None if read is None else read(node, tensor)
        if weights is not None and any(node.input[2:]) and not weights.bias:
            # What is added cannot be scaled along with the weights.
            return replace(weights, is_linear=False)
        return weights

    def _bias(self, node: NodeProto, channels: int) -> str:
        tensor = self._tensors.get(node.input[2]) if len(node.input) > 2 else None
        return tensor.name if tensor is not None and list(tensor.dims) == [channels] else ""

    def _added(self, node: NodeProto, channels: int) -> str:
        """The bias of a matrix product that has none of its own: a constant that is added to it, and to nothing else."""
        (product,) = node.output
        readers = [other for other in self._nodes if product in other.input]
        if len(readers) != 1 or readers[0].op_type != "Add" or product in self._outputs:
            return ""
        name = next((name for name in readers[0].input if name in self._tensors), "")
        is_row = name != "" and list(self._tensors[name].dims) == [channels]
        is_own = sum(name in other.input for other in self._nodes) == 1
        return name if is_row and is_own else ""

    def _conv_weights(self, node: NodeProto, tensor: TensorProto) -> Weights:
        groups = int(str(attributes_of(node).get("group", 1)))
        is_depthwise = groups > 1 and tensor.dims[1] == 1
        return Weights(
            tensor=tensor.name,
            output_axis=0,
            input_axis=None if is_depthwise else 1,
            multiplier=tensor.dims[0] // groups if is_depthwise else 1,
            bias=self._bias(node, tensor.dims[0]),
            is_grouped=groups > 1 and not is_depthwise,
        )

    def _transposed_conv_weights(self, node: NodeProto, tensor: TensorProto) -> Weights | None:
        """Of a transposed convolution without groups, or with one for each channel: no axis counts all outputs else."""
        groups = int(str(attributes_of(node).get("group", 1)))
        if groups == 1:
            bias = self._bias(node, tensor.dims[1])
            return Weights(tensor=tensor.name, output_axis=1, input_axis=0, bias=bias)
        if groups == tensor.dims[0] and tensor.dims[1] == 1:
            bias = self._bias(node, tensor.dims[0])
            return Weights(tensor=tensor.name, output_axis=0, input_axis=None, bias=bias)
        return None

    def _gemm_weights(self, node: NodeProto, tensor: TensorProto) -> Weights | None:
        attributes = attributes_of(node)
        if attributes.get("transA", 0):
            return None
        output = 0 if attributes.get("transB", 0) else 1
        has_plain_bias = attributes.get("beta", 1.0) == 1.0
        return Weights(
            tensor=tensor.name,
            output_axis=output,
            input_axis=1 - output,
            bias=self._bias(node, tensor.dims[output]) if has_plain_bias else "",
        )
