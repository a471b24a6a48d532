"""TFLite files of one operator each, written from the schema's own tables: also operators that edgeconv never writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgeconv.formats.tflite_file import StoredBuffer, write_tflite

__all__ = ["SINGLES", "Array", "Single", "run_file", "write_single"]

Array = NDArray[Any]
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "bool": schema.TensorType.BOOL,
}


def _draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def _positive(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0.2, 2, shape).astype(np.float32)


def _integers(*values: object) -> Array:
    return np.asarray(values, np.int32)


@dataclass(frozen=True, kw_only=True)
class Single:
    """An operator, what it reads, and its options.

    Attributes:
        data: What it is given when it runs.
        constants: What is stored in the file, by position among the inputs.
        options: Of the schema's table for it; `table` names it where it is not called as the operator is.
        outputs: How many it makes.
        shape: Of what it makes, where the runtime does not find it.
    """

    data: Sequence[Array]
    constants: Mapping[int, Array] = field(default_factory=dict)
    table: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    outputs: int = 1
    shape: Sequence[int] = (1,)


_VERSIONS = {"BROADCAST_TO": 2}  # the first that was released
_X = _draw(1, 6, 6, 8)
_CONV = {"strideW": 1, "strideH": 1, "padding": 0, "dilationWFactor": 1, "dilationHFactor": 1}
_POOL: Mapping[str, Any] = {
    "strideW": 2,
    "strideH": 2,
    "filterWidth": 2,
    "filterHeight": 2,
    "padding": 1,
}


def _unary(table: str = "", data: Array = _X, **options: object) -> Single:
    return Single(data=[data], table=table, options=options)


def _binary(table: str = "", *, is_positive: bool = False, **options: object) -> Single:
    make: Callable[..., Array] = _positive if is_positive else _draw
    return Single(data=[make(1, 6, 6, 8), make(1, 6, 6, 8, seed=1)], table=table, options=options)


def _reduce() -> Single:
    return Single(
        data=[_X], constants={1: _integers(1, 2)}, table="Reducer", options={"keepDims": True}
    )


SINGLES: Mapping[str, Single] = {
    "ABS": _unary("Abs"),
    "ADD": _binary("Add"),
    "ARG_MAX": Single(data=[_X], constants={1: _integers(3)[0]}, table="ArgMax", options={"outputType": 2}),
    "AVERAGE_POOL_2D": _unary("Pool2D", **_POOL),
    "BATCH_MATMUL": Single(data=[_draw(1, 2, 6, 32), _draw(1, 2, 32, 5, seed=1)], table="BatchMatMul"),
    "BATCH_MATMUL of weights": Single(
        data=[_draw(2, 6, 32)], constants={1: _draw(2, 32, 5, seed=1)}, table="BatchMatMul"
    ),
    "BROADCAST_TO": Single(data=[_draw(1, 1, 6, 8)], constants={1: _integers(2, 3, 6, 8)}, table="BroadcastTo"),
    "CONCATENATION": _binary("Concatenation", axis=3),
    "CONV_2D": Single(
        data=[_X], constants={1: _draw(16, 3, 3, 8, seed=1), 2: _draw(16, seed=2)}, table="Conv2D", options=_CONV
    ),
    "CONV_3D": Single(
        data=[_draw(1, 4, 6, 6, 3)], constants={1: _draw(2, 3, 3, 3, 5, seed=1), 2: _draw(5, seed=2)},
        table="Conv3D", options={**_CONV, "strideD": 1, "dilationDFactor": 1},
    ),
    "CUMSUM": Single(data=[_X], constants={1: _integers(1)[0]}, table="Cumsum"),
    "DEPTHWISE_CONV_2D": Single(
        data=[_X], constants={1: _draw(1, 3, 3, 8, seed=1), 2: _draw(8, seed=2)}, table="DepthwiseConv2D",
        options={**_CONV, "depthMultiplier": 1},
    ),
    "DEPTH_TO_SPACE": _unary("DepthToSpace", blockSize=2),
    "DIV": _binary("Div", is_positive=True),
    "DYNAMIC_UPDATE_SLICE": Single(
        data=[_X, _draw(1, 2, 2, 8, seed=1)], constants={2: _integers(0, 1, 1, 0)}, table="DynamicUpdateSlice"
    ),
    "ELU": _unary(),
    "EMBEDDING_LOOKUP": Single(data=[_integers(1, 3, 0)], constants={1: _draw(9, 64)}),
    "EXP": _unary("Exp"),
    "EXPAND_DIMS": Single(data=[_draw(2, 3, 8)], constants={1: _integers(1)[0]}, table="ExpandDims"),
    "EQUAL": Single(data=[np.round(_X), np.round(_draw(1, 6, 6, 8, seed=1))], table="Equal"),
    "FULLY_CONNECTED": Single(
        data=[_draw(4, 256)], constants={1: _draw(6, 256, seed=1), 2: _draw(6, seed=2)}, table="FullyConnected"
    ),
    "GATHER": Single(data=[_X], constants={1: _integers(2, 0, 1)}, table="Gather", options={"axis": 1}),
    "GATHER of weights": Single(data=[_integers(1, 3, 0)], constants={0: _draw(9, 64)}, table="Gather"),
    "GATHER_ND": Single(data=[_X], constants={1: _integers((0, 1), (0, 3))}, table="GatherNd"),
    "GELU": _unary("Gelu"),
    "GREATER": _binary("Greater"),
    "HARD_SWISH": _unary("HardSwish"),
    "L2_NORMALIZATION": _unary("L2Norm"),
    "LEAKY_RELU": _unary("LeakyRelu", alpha=0.1),
    "LESS": _binary("Less"),
    "LOG": _unary(data=_positive(1, 6, 6, 8)),
    "LOGISTIC": _unary(),
    "LOG_SOFTMAX": _unary("LogSoftmax"),
    "MAXIMUM": _binary("MaximumMinimum"),
    "MAX_POOL_2D": _unary("Pool2D", **_POOL),
    "MEAN": _reduce(),
    "MINIMUM": _binary("MaximumMinimum"),
    "MIRROR_PAD": Single(
        data=[_X], constants={1: _integers((0, 0), (1, 1), (2, 1), (0, 0))}, table="MirrorPad", options={"mode": 0}
    ),
    "MUL": _binary("Mul"),
    "NEG": _unary("Neg"),
    "NOT_EQUAL": Single(data=[np.round(_X), np.round(_draw(1, 6, 6, 8, seed=1))], table="NotEqual"),
    "PACK": _binary("Pack", valuesCount=2, axis=0),
    "PAD": Single(data=[_X], constants={1: _integers((0, 0), (1, 1), (2, 1), (0, 0))}, table="Pad"),
    "PADV2": Single(
        data=[_X], constants={1: _integers((0, 0), (1, 1), (2, 1), (0, 0)), 2: np.asarray(-3, np.float32)}, table="PadV2"
    ),
    "POW": _binary("Pow", is_positive=True),
    "PRELU": Single(data=[_X], constants={1: _positive(1, 1, 8, seed=1)}),
    "REDUCE_MAX": _reduce(),
    "REDUCE_MIN": _reduce(),
    "RELU": _unary(),
    "RELU6": _unary(data=_draw(1, 6, 6, 8, scale=4)),
    "RELU_0_TO_1": _unary(),
    "RELU_N1_TO_1": _unary(),
    "RESHAPE": Single(data=[_X], constants={1: _integers(6, 48)}, table="Reshape", options={"newShape": [6, 48]}),
    "RESIZE_BILINEAR": Single(
        data=[_X], constants={1: _integers(9, 11)}, table="ResizeBilinear", options={"halfPixelCenters": True}
    ),
    "RESIZE_NEAREST_NEIGHBOR": Single(
        data=[_X], constants={1: _integers(9, 11)}, table="ResizeNearestNeighbor", options={"halfPixelCenters": True}
    ),
    "REVERSE_V2": Single(data=[_X], constants={1: _integers(1)}, table="ReverseV2"),
    "RSQRT": _unary(data=_positive(1, 6, 6, 8)),
    "SELECT": Single(data=[_X > 0, _X, _draw(1, 6, 6, 8, seed=1)], table="Select"),
    "SELECT_V2": Single(data=[_X > 0, _X, _draw(1, 6, 6, 8, seed=1)], table="SelectV2"),
    "SLICE": Single(
        data=[_X], constants={1: _integers(0, 1, 1, 0), 2: _integers(1, 3, 2, 8)}, table="Slice", shape=(1, 3, 2, 8)
    ),
    "SOFTMAX": _unary("Softmax", data=_draw(4, 10), beta=1.0),
    "SPACE_TO_BATCH_ND": Single(
        data=[_X], constants={1: _integers(2, 2), 2: _integers((0, 0), (0, 0))}, table="SpaceToBatchND"
    ),
    "BATCH_TO_SPACE_ND": Single(
        data=[_draw(4, 3, 3, 8)], constants={1: _integers(2, 2), 2: _integers((0, 0), (0, 0))}, table="BatchToSpaceND"
    ),
    "SPACE_TO_DEPTH": _unary("SpaceToDepth", blockSize=2),
    "SPLIT": Single(data=[_X], constants={0: _integers(3)[0]}, table="Split", options={"numSplits": 2}, outputs=2),
    "SPLIT_V": Single(
        data=[_X], constants={1: _integers(3, 5), 2: _integers(3)[0]}, table="SplitV", options={"numSplits": 2}, outputs=2
    ),
    "SQRT": _unary(data=_positive(1, 6, 6, 8)),
    "SQUARE": _unary("Square"),
    "SQUARED_DIFFERENCE": _binary("SquaredDifference"),
    "SQUEEZE": _unary("Squeeze", data=_draw(1, 6, 1, 8), squeezeDims=[2]),
    "STRIDED_SLICE": Single(
        data=[_X], constants={1: _integers(0, 1, 1, 0), 2: _integers(1, 6, 5, 8), 3: _integers(1, 2, 1, 1)},
        table="StridedSlice",
    ),
    "SUB": _binary("Sub"),
    "SUM": _reduce(),
    "TANH": _unary(),
    "TILE": Single(data=[_X], constants={1: _integers(1, 2, 1, 1)}, table="Tile"),
    "TOPK_V2": Single(data=[_X], constants={1: _integers(3)[0]}, table="TopKV2", outputs=2),
    "TRANSPOSE": Single(data=[_X], constants={1: _integers(0, 3, 1, 2)}, table="Transpose"),
    "TRANSPOSE_CONV": Single(
        data=[_X], constants={0: _integers(1, 12, 12, 6), 1: _draw(6, 2, 2, 8, seed=1), 3: _draw(6, seed=2)},
        table="TransposeConv", options={"strideW": 2, "strideH": 2, "padding": 1},
    ),
    "UNPACK": Single(data=[_X], table="Unpack", options={"num": 6, "axis": 1}, outputs=6),
}  # fmt: skip


def write_single(code: str, single: Single, path: Path) -> Path:
    """Write the file; the shapes of what the operator makes are those that the runtime finds."""
    shapes = [list(single.shape)] * single.outputs
    for _ in range(2):  # once with any shapes, then with the right ones
        model = _tables(code, single, shapes)
        write_tflite(path, model.Pack, model.buffers)
        interpreter = _open(path, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        details = interpreter.get_output_details()
        shapes = [[int(size) for size in detail["shape"]] for detail in details]
    return path


def _open(path: Path, resolver: object) -> Any:  # noqa: ANN401 - untyped library
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    return interpreter


def run_file(path: Path, data: Sequence[Array], resolver: object) -> list[Array]:
    """What a file makes of data."""
    interpreter = _open(path, resolver)
    details = interpreter.get_input_details()
    for detail, array in zip(details, data, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def _tables(code: str, single: Single, shapes: Sequence[Sequence[int]]) -> Any:  # noqa: ANN401
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [StoredBuffer()]
    graph.tensors, graph.operators = [], [operator]
    number = schema.OperatorCodeT()
    number.builtinCode = getattr(schema.BuiltinOperator, code.partition(" ")[0])
    number.deprecatedBuiltinCode = min(number.builtinCode, 127)
    number.version = _VERSIONS.get(code, 1)
    model.operatorCodes = [number]
    waiting = list(single.data)
    count = len(single.data) + len(single.constants)
    inputs = [
        single.constants[i] if i in single.constants else waiting.pop(0) for i in range(count)
    ]
    for position, array in enumerate(inputs):
        value = single.constants.get(position)
        _add(model, graph, f"x{position}", np.asarray(array), value)
    graph.inputs = [i for i in range(count) if i not in single.constants]
    operator.inputs = list(range(count))
    is_logical = code in ("EQUAL", "NOT_EQUAL", "GREATER", "LESS")
    for position, shape in enumerate(shapes):
        dtype = np.bool_ if is_logical else np.float32
        is_index = code == "ARG_MAX" or (code == "TOPK_V2" and position == 1)
        _add(model, graph, f"y{position}", np.empty(shape, np.int32 if is_index else dtype), None)
    graph.outputs = operator.outputs = list(range(count, count + len(shapes)))
    if single.table:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{single.table}Options")
        operator.builtinOptions = getattr(schema, f"{single.table}OptionsT")()
        for name, option in single.options.items():
            assert hasattr(operator.builtinOptions, name), name
            setattr(operator.builtinOptions, name, option)
    return model


def _add(model: Any, graph: Any, name: str, like: Array, value: Array | None) -> None:  # noqa: ANN401
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.hasRank = name, list(like.shape), True
    tensor.type = _TYPES[like.dtype.name]
    tensor.buffer = 0
    if value is not None:
        tensor.buffer = len(model.buffers)
        model.buffers.append(StoredBuffer(value))
    graph.tensors.append(tensor)
