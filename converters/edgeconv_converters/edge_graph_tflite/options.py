"""Which option table of TFLite's schema an operator has, and where each of its fields comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeconv.graph import Node
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.program import OptionValue

__all__ = ["ENUMERATIONS", "OPTION_TABLES", "OptionTable", "read_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionTable:
    """An option table of the schema.

    Attributes:
        name: Of the table.
        fields: Field of the table → attribute of the graph's operator.
    """

    name: str
    fields: dict[str, str] = field(default_factory=dict)


# Fields that hold a member of one of the schema's enumerations.
ENUMERATIONS = {
    "fusedActivationFunction": "ActivationFunctionType",
    "inDataType": "TensorType",
    "mode": "MirrorPadMode",
    "outDataType": "TensorType",
    "outType": "TensorType",
    "outputType": "TensorType",
    "padding": "Padding",
}

_ACTIVATION = {"fusedActivationFunction": "fused_activation_function"}
_STRIDES = {"strideH": "stride_h", "strideW": "stride_w"}
_DILATIONS = {"dilationHFactor": "dilation_h_factor", "dilationWFactor": "dilation_w_factor"}
_WINDOW = {"padding": "padding", **_STRIDES, **_ACTIVATION}
_POOL = {**_WINDOW, "filterHeight": "filter_height", "filterWidth": "filter_width"}
_RESIZE = {"alignCorners": "align_corners", "halfPixelCenters": "half_pixel_centers"}


def _named(table: str, **fields: str) -> OptionTable:
    return OptionTable(name=f"{table}Options", fields=fields)


OPTION_TABLES: dict[str, OptionTable] = {
    "ADD": _named("Add", **_ACTIVATION),
    "ARG_MAX": _named("ArgMax", outputType="output_type"),
    "ARG_MIN": _named("ArgMin", outputType="output_type"),
    "AVERAGE_POOL_2D": _named("Pool2D", **_POOL),
    "BATCH_MATMUL": _named("BatchMatMul", adjX="adj_x", adjY="adj_y"),
    "CAST": _named("Cast", outDataType="dtype"),
    "CONCATENATION": _named("Concatenation", axis="axis"),
    "CONV_2D": _named("Conv2D", **_WINDOW, **_DILATIONS),
    "CONV_3D": _named(
        "Conv3D", **_WINDOW, **_DILATIONS, strideD="stride_d", dilationDFactor="dilation_d_factor"
    ),
    "CONV_3D_TRANSPOSE": _named("Conv3D", **_WINDOW, strideD="stride_d"),
    "CUMSUM": _named("Cumsum", exclusive="exclusive", reverse="reverse"),
    "DEPTHWISE_CONV_2D": _named(
        "DepthwiseConv2D", **_WINDOW, **_DILATIONS, depthMultiplier="depth_multiplier"
    ),
    "DEPTH_TO_SPACE": _named("DepthToSpace", blockSize="block_size"),
    "DEQUANTIZE": _named("Dequantize"),
    "DIV": _named("Div", **_ACTIVATION),
    "FULLY_CONNECTED": _named("FullyConnected", **_ACTIVATION),
    "GATHER": _named("Gather", axis="axis", batchDims="batch_dims"),
    "GELU": _named("Gelu", approximate="approximate"),
    "IF": _named("If"),
    "LEAKY_RELU": _named("LeakyRelu", alpha="alpha"),
    "MAX_POOL_2D": _named("Pool2D", **_POOL),
    "MEAN": _named("Reducer", keepDims="keep_dims"),
    "MIRROR_PAD": _named("MirrorPad", mode="mode"),
    "MUL": _named("Mul", **_ACTIVATION),
    "ONE_HOT": _named("OneHot"),
    "PACK": _named("Pack", axis="axis"),
    "QUANTIZE": _named("Quantize"),
    "REDUCE_ALL": _named("Reducer", keepDims="keep_dims"),
    "REDUCE_ANY": _named("Reducer", keepDims="keep_dims"),
    "REDUCE_MAX": _named("Reducer", keepDims="keep_dims"),
    "REDUCE_MIN": _named("Reducer", keepDims="keep_dims"),
    "REDUCE_PROD": _named("Reducer", keepDims="keep_dims"),
    "RESHAPE": _named("Reshape"),
    "RESIZE_BILINEAR": _named("ResizeBilinear", **_RESIZE),
    "RESIZE_NEAREST_NEIGHBOR": _named("ResizeNearestNeighbor", **_RESIZE),
    "SHAPE": _named("Shape"),
    "SOFTMAX": _named("Softmax", beta="beta"),
    "SPACE_TO_DEPTH": _named("SpaceToDepth", blockSize="block_size"),
    "SPLIT_V": _named("SplitV"),
    "SQUEEZE": _named("Squeeze"),
    "STRIDED_SLICE": _named("StridedSlice"),
    "SUB": _named("Sub", **_ACTIVATION),
    "SUM": _named("Reducer", keepDims="keep_dims"),
    "TRANSPOSE_CONV": _named("TransposeConv", **_WINDOW),
    "BITCAST": _named("Bitcast"),
    "UNSORTED_SEGMENT_MAX": _named("UnsortedSegmentMax"),
    "UNSORTED_SEGMENT_MIN": _named("UnsortedSegmentMin"),
    "UNSORTED_SEGMENT_PROD": _named("UnsortedSegmentProd"),
    "WHILE": _named("While"),
}


def read_options(node: Node) -> dict[str, OptionValue]:
    """The fields of a node's option table that follow from its attributes alone."""
    table = OPTION_TABLES.get(node.op)
    if table is None:
        return {}
    return {name: _read(node, attribute) for name, attribute in table.fields.items()}


def _read(node: Node, attribute: str) -> OptionValue:
    value = node.attributes[attribute]
    if isinstance(value, DType):
        return value.value
    if isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"'{node.op}' attribute {attribute} is {value!r}, no option")
