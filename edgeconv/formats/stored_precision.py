"""Finds in a file how it was quantized, for files whose metadata does not say: those of other tools.

What is found names the recipe that comes nearest, by the coarsest rounding in the file: it decides how the file is judged, and no more.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeconv.formats.record import FLOAT

__all__ = ["find_stored_precision"]

_INT4, _INT8, _INT16, _DYNAMIC = "int4-weights", "int8", "int16x8", "int8-dynamic"
_WEIGHTS, _HALF = "int8-weights", "fp16"
_COARSEST_FIRST = (_INT4, _INT8, _DYNAMIC, _INT16, _WEIGHTS, _HALF)

_ONNX_DYNAMIC = frozenset(
    (
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
    )
)
_ONNX_BLOCKS = frozenset(("GatherBlockQuantized", "MatMulBnb4", "MatMulNBits"))
_ZERO_POINT = 2


def find_stored_precision(format_id: str, path: Path) -> str:
    """The recipe that comes nearest to how a file was quantized; `float32` where nothing in it is.

    Args:
        format_id: Its format; files of other formats than TFLite and ONNX are taken for float.
        path: The file; it must be intact.
    """
    reader = _READERS.get(format_id)
    found = set() if reader is None else set(reader(path))
    return next((name for name in _COARSEST_FIRST if name in found), FLOAT)


def _read_tflite(path: Path) -> Iterator[str]:
    from ai_edge_litert import schema_py_generated as schema

    with path.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    model = schema.Model.GetRootAs(content, 0)
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        mixed = _read_beside_floats(model, graph, schema)
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            is_constant = _is_constant(model.Buffers(tensor.Buffer()))
            if is_constant and tensor.Type() == schema.TensorType.FLOAT16:
                yield _HALF
            if _is_quantized(tensor):
                is_mixed = index in mixed
                yield from _tell(tensor.Type(), schema, is_constant=is_constant, is_mixed=is_mixed)


def _read_beside_floats(model: Any, graph: Any, schema: Any) -> set[int]:  # noqa: ANN401 - untyped library
    """Tensors of operators that compute float32 with what they read as it is stored: all that do but DEQUANTIZE."""
    read: set[int] = set()
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        outputs = [graph.Tensors(operator.Outputs(n)) for n in range(operator.OutputsLength())]
        gives_floats = any(one.Type() == schema.TensorType.FLOAT32 for one in outputs)
        if gives_floats and builtin != schema.BuiltinOperator.DEQUANTIZE:
            read.update(operator.Inputs(index) for index in range(operator.InputsLength()))
    return read


def _is_constant(buffer: Any) -> bool:  # noqa: ANN401 - untyped library
    return bool(buffer.DataLength() or buffer.Offset() > 1)


def _is_quantized(tensor: Any) -> bool:  # noqa: ANN401 - untyped library
    stored = tensor.Quantization()
    return stored is not None and bool(stored.ScaleLength() or stored.DetailsType())


def _tell(
    dtype: int,
    schema: Any,  # noqa: ANN401 - untyped library
    *,
    is_constant: bool,
    is_mixed: bool,
) -> Iterator[str]:
    kinds = schema.TensorType
    if dtype == kinds.INT4:
        yield _INT4
    elif dtype in (kinds.INT8, kinds.UINT8):
        yield (_DYNAMIC if is_mixed else _WEIGHTS) if is_constant else _INT8
    elif dtype == kinds.INT16 and not is_constant:
        yield _INT16


def _read_onnx(path: Path) -> Iterator[str]:
    from onnx import TensorProto

    from edgeconv.formats.onnx_file import read_onnx

    model, _ = read_onnx(path)
    dtypes = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    if {TensorProto.INT4, TensorProto.UINT4} & set(dtypes.values()):
        yield _INT4
    ends = {one.type.tensor_type.elem_type for one in (*model.graph.input, *model.graph.output)}
    if TensorProto.FLOAT16 in dtypes.values() and TensorProto.FLOAT16 not in ends:
        yield _HALF
    for body in (model.graph, *model.functions):
        for node in _nodes_within(body):
            yield from _tell_node(node, dtypes)


def _tell_node(node: Any, dtypes: Mapping[str, int]) -> Iterator[str]:  # noqa: ANN401 - a protocol buffer
    from onnx import TensorProto

    if node.op_type in _ONNX_BLOCKS:
        yield _INT4
    elif node.op_type in _ONNX_DYNAMIC:
        yield _DYNAMIC
    elif node.op_type == "DequantizeLinear":
        yield _WEIGHTS
    elif node.op_type == "QuantizeLinear":
        zero = dtypes.get(node.input[_ZERO_POINT]) if len(node.input) > _ZERO_POINT else None
        yield _INT16 if zero in (TensorProto.INT16, TensorProto.UINT16) else _INT8
    elif node.op_type.startswith("QLinear"):
        yield _INT8


def _nodes_within(body: Any) -> Iterator[Any]:  # noqa: ANN401 - a protocol buffer
    for node in body.node:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes_within(graph)


_READERS: Mapping[str, Callable[[Path], Iterator[str]]] = {
    "onnx": _read_onnx,
    "tflite": _read_tflite,
}
