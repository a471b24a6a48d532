"""What each operator of a TFLite graph is, in the words of the parts that all formats share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeconv.plugin.quantizer import Dependence, Operator, Weights
from edgeconv_converters.ai_edge_quantizer.tables import Graph, Tables, code_of, constant_of

__all__ = ["describe_operators", "tensor_name"]

_Activation = schema.ActivationFunctionType
_LINEAR = (_Activation.NONE, _Activation.RELU)
_FLOAT = schema.TensorType.FLOAT32

# Linear in every channel by itself, or scaled with it; those with a condition are below.
_HOMOGENEOUS = frozenset(
    (
        "ABS",
        "AVERAGE_POOL_2D",
        "LEAKY_RELU",
        "MAX_POOL_2D",
        "PRELU",
        "RELU",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
    )
)
_OVER_SPACE = frozenset(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"))
_SHAPE = frozenset(("EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE"))

# Operator → positions of weights and bias among its inputs, axes of output and input channels in the weights.
_Layout = tuple[int, int, int, int | None]
_WEIGHTS: Mapping[str, _Layout] = {
    "CONV_2D": (1, 2, 0, 3),
    "CONV_3D": (1, 2, 4, 3),
    "DEPTHWISE_CONV_2D": (1, 2, 3, None),
    "FULLY_CONNECTED": (1, 2, 0, 1),
    "TRANSPOSE_CONV": (1, 3, 0, 3),
}
_DATA: Mapping[str, int] = {"TRANSPOSE_CONV": 2}


def tensor_name(graph: Graph, index: int) -> str:
    """The name of a tensor; empty for one that is missing."""
    return "" if index < 0 else graph.tensors[index].name.decode(errors="replace")


def describe_operators(tables: Tables) -> tuple[Operator, ...]:
    """Every operator of the main graph that makes something, in the file's order."""
    graph = tables.subgraphs[0]
    found = (_describe(tables, graph, operator) for operator in graph.operators)
    return tuple(operator for operator in found if operator.outputs)


def _describe(tables: Tables, graph: Graph, operator: Any) -> Operator:  # noqa: ANN401 - untyped library
    code = code_of(tables, operator)
    outputs = tuple(tensor_name(graph, index) for index in operator.outputs)
    return Operator(
        name=outputs[0] if outputs else "",
        code=code,
        inputs=tuple(tensor_name(graph, index) for index in operator.inputs),
        outputs=outputs,
        dependence=_dependence(tables, graph, operator, code),
        weights=_weights(tables, graph, operator, code),
    )


def _dependence(tables: Tables, graph: Graph, operator: Any, code: str) -> Dependence:  # noqa: ANN401 - untyped library
    if code in _SHAPE:
        return Dependence.SHAPE
    if not _is_linear(operator):
        return Dependence.OTHER
    if code == "CONCATENATION":
        return Dependence.CONCATENATION
    keeps = code in _HOMOGENEOUS
    keeps = keeps or (code in _OVER_SPACE and _spares_channels(tables, graph, operator))
    keeps = keeps or (code == "PAD" and _pads_space(tables, graph, operator))
    return Dependence.HOMOGENEOUS if keeps else Dependence.OTHER


def _is_linear(operator: Any) -> bool:  # noqa: ANN401 - untyped library
    fused = getattr(operator.builtinOptions, "fusedActivationFunction", _Activation.NONE)
    return fused in _LINEAR


def _spares_channels(tables: Tables, graph: Graph, operator: Any) -> bool:  # noqa: ANN401 - untyped library
    """Whether a reduction leaves the last axis alone."""
    data, axes = (graph.tensors[index] for index in operator.inputs[:2])
    value = constant_of(tables, axes)
    rank = len(data.shape)
    return value is not None and rank - 1 not in {int(axis) % rank for axis in value.reshape(-1)}


def _pads_space(tables: Tables, graph: Graph, operator: Any) -> bool:  # noqa: ANN401 - untyped library
    """Whether no channels are added."""
    value = constant_of(tables, graph.tensors[operator.inputs[1]])
    return value is not None and not value[-1].any()


def _weights(tables: Tables, graph: Graph, operator: Any, code: str) -> Weights | None:  # noqa: ANN401 - untyped library
    layout = _layout(graph, operator, code)
    if layout is None:
        return None
    position, bias, output_axis, input_axis = layout
    weights = graph.tensors[operator.inputs[position]]
    if weights.type != _FLOAT or constant_of(tables, weights) is None:
        return None
    channels = int(graph.tensors[operator.inputs[_DATA.get(code, 0)]].shape[-1])
    return Weights(
        tensor=tensor_name(graph, operator.inputs[position]),
        output_axis=output_axis,
        input_axis=input_axis,
        multiplier=max(1, int(weights.shape[3]) // channels) if input_axis is None else 1,
        bias=_bias(tables, graph, operator, bias),
        is_linear=_is_linear(operator),
        is_grouped=code == "CONV_2D" and int(weights.shape[3]) != channels,
    )


def _layout(graph: Graph, operator: Any, code: str) -> _Layout | None:  # noqa: ANN401 - untyped library
    if code != "BATCH_MATMUL":
        return _WEIGHTS.get(code)
    rank = len(graph.tensors[operator.inputs[1]].shape)
    axes = (rank - 2, rank - 1) if operator.builtinOptions.adjY else (rank - 1, rank - 2)
    return (1, 2, *axes)


def _bias(tables: Tables, graph: Graph, operator: Any, position: int) -> str:  # noqa: ANN401 - untyped library
    index = operator.inputs[position] if position < len(operator.inputs) else -1
    if index < 0 or constant_of(tables, graph.tensors[index]) is None:
        return ""
    return tensor_name(graph, index)
