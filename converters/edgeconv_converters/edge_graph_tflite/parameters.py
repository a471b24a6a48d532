"""Which attributes of the graph's operators are tensors in TFLite, and in which order TFLite takes its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeconv.dims import DimExpr, Size, is_static
from edgeconv.graph import Node, Tensor
from edgeconv_converters.edge_graph_tflite.program import Constants, OptionValue
from edgeconv_converters.edge_graph_tflite.sizes import SizeTensors

__all__ = ["PARAMETERS", "Parameter", "find_parameters", "slice_parameters"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """An attribute that becomes a tensor.

    Attributes:
        attribute: Its name; for `pairs` the two attributes `before` and `after` are meant.
        kind: `vector` of sizes; `scalar`, an integer or a list of one size; `pairs`, a matrix of paddings;
            `shape`, a vector in which one unknown size may be -1; `typed`, a scalar of the output's dtype.
    """

    attribute: str
    kind: Literal["vector", "scalar", "pairs", "shape", "typed"] = "vector"


# Inputs in TFLite's order: a number is an input of the graph's operator.
PARAMETERS: dict[str, tuple[int | Parameter, ...]] = {
    "ARG_MAX": (0, Parameter("axis", "scalar")),
    "ARG_MIN": (0, Parameter("axis", "scalar")),
    "BROADCAST_TO": (0, Parameter("shape")),
    "CONV_3D_TRANSPOSE": (Parameter("output_shape"), 1, 0, 2),
    "CUMSUM": (0, Parameter("axis", "scalar")),
    "FILL": (Parameter("shape"), 0),
    "MEAN": (0, Parameter("axes")),
    "MIRROR_PAD": (0, Parameter("before", "pairs")),
    "ONE_HOT": (0, Parameter("depth", "scalar"), 1, 2),
    "PAD": (0, Parameter("before", "pairs")),
    "PADV2": (0, Parameter("before", "pairs"), 1),
    "RANGE": tuple(Parameter(name, "typed") for name in ("start", "limit", "delta")),
    "REDUCE_ALL": (0, Parameter("axes")),
    "REDUCE_ANY": (0, Parameter("axes")),
    "REDUCE_MAX": (0, Parameter("axes")),
    "REDUCE_MIN": (0, Parameter("axes")),
    "REDUCE_PROD": (0, Parameter("axes")),
    "RESHAPE": (0, Parameter("shape", "shape")),
    "RESIZE_BILINEAR": (0, Parameter("size")),
    "RESIZE_NEAREST_NEIGHBOR": (0, Parameter("size")),
    "REVERSE_V2": (0, Parameter("axes")),
    "SCATTER_ND": (0, 1, Parameter("shape")),
    "SPLIT_V": (0, Parameter("sizes", "shape"), Parameter("axis", "scalar")),
    "SUM": (0, Parameter("axes")),
    "TILE": (0, Parameter("multiples")),
    "TOPK_V2": (0, Parameter("k", "scalar")),
    "TRANSPOSE": (0, Parameter("perm")),
    **dict.fromkeys(
        ("UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD"),
        (0, 1, Parameter("count", "scalar")),
    ),
    "TRANSPOSE_CONV": (Parameter("output_shape"), 1, 0, 2),
}


def find_parameters(node: Node, sizes: SizeTensors, constants: Constants) -> list[Tensor | None]:
    """The inputs of a node as TFLite takes them.

    Raises:
        ConversionError: A dim of a parameter cannot be read from any input.
    """
    if node.op not in PARAMETERS:
        return list(node.inputs)
    inputs: list[Tensor | None] = []
    for item in PARAMETERS[node.op]:
        if isinstance(item, Parameter):
            inputs.append(_make(item, node, sizes, constants))
        elif item < len(node.inputs):
            inputs.append(node.inputs[item])
    return inputs


def _make(item: Parameter, node: Node, sizes: SizeTensors, constants: Constants) -> Tensor:
    match item.kind:
        case "vector":
            return sizes.vector(node.sizes(item.attribute))
        case "shape":
            return sizes.vector(with_unknown(node.sizes(item.attribute)))
        case "scalar":
            return sizes.scalar(_single(node, item.attribute))
        case "typed":
            return sizes.scalar(_single(node, item.attribute), node.outputs[0].dtype)
        case "pairs":
            return _pairs(node, sizes, constants)


def _single(node: Node, attribute: str) -> Size:
    value = node.attributes[attribute]
    if isinstance(value, tuple):
        (value,) = value
    if isinstance(value, int | DimExpr):
        return value
    raise TypeError(f"'{node.op}' attribute {attribute} is {value!r}, not a size")


def with_unknown(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape with its only dynamic size left for TFLite to infer; as it is when there are more."""
    dynamic = [axis for axis, size in enumerate(shape) if not isinstance(size, int)]
    if len(dynamic) != 1 or 0 in shape:
        return shape
    return tuple(-1 if axis == dynamic[0] else size for axis, size in enumerate(shape))


def _pairs(node: Node, sizes: SizeTensors, constants: Constants) -> Tensor:
    before, after = node.sizes("before"), node.sizes("after")
    if is_static((*before, *after)):
        import numpy as np

        return constants.array(np.asarray([before, after], dtype=np.int32).T.copy())
    return sizes.matrix(tuple(zip(before, after, strict=True)))


def slice_parameters(
    node: Node, sizes: SizeTensors
) -> tuple[list[Tensor | None], dict[str, OptionValue]]:
    """Inputs and options of a STRIDED_SLICE, with bounds at the ends of dynamic axes left open.

    Raises:
        ConversionError: A dim of a bound cannot be read from any input.
    """
    shape = node.input(0).shape
    begin, end = list(node.sizes("begin")), list(node.sizes("end"))
    begin_mask = end_mask = 0
    for axis, size in enumerate(shape):
        if begin[axis] == 0:
            begin_mask |= 1 << axis
        if end[axis] == size:
            end_mask |= 1 << axis
            end[axis] = 0
        begin[axis], end[axis] = (_from_the_end(bound, size) for bound in (begin[axis], end[axis]))
    tensors = [sizes.vector(tuple(bounds)) for bounds in (begin, end)]
    options: dict[str, OptionValue] = {
        "beginMask": begin_mask,
        "endMask": end_mask,
        "ellipsisMask": 0,
        "newAxisMask": 0,
        "shrinkAxisMask": 0,
    }
    return [node.input(0), *tensors, sizes.vector(node.sizes("strides"))], options


def _from_the_end(bound: Size, size: Size) -> Size:
    """`bound` counted from the end where that makes it a plain number; TFLite reads it as such."""
    distance = bound - size
    return distance if not isinstance(bound, int) and isinstance(distance, int) else bound
