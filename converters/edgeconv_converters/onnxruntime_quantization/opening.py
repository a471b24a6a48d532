"""Reads a float ONNX file and brings it into the shape that quantization needs.

ONNX Runtime itself prepares it, at its basic level, which uses ONNX's own operators only: constants are folded, batch
normalization goes into the convolution before it, a matrix product and the bias behind it become one, and what does
nothing is gone. Names of inputs, outputs and all activations that are left stay as they were.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

from edgeconv.errors import InvalidInputError
from edgeconv.formats.onnx import HANDLER
from edgeconv.signature import Signature
from edgeconv_converters.onnxruntime_quantization.nodes import (
    bodies_of,
    first_output,
    nodes_within,
)
from edgeconv_converters.onnxruntime_quantization.rewriting import rewrite_for_kernels
from edgeconv_converters.onnxruntime_quantization.session import open_session

__all__ = ["FloatFile", "read_float_model"]

_LARGEST_BYTES = 2**31 - 2**24
_QUANTIZED_OPERATORS = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "GatherBlockQuantized",
        "MatMulBnb4",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        "QuantizeLinear",
    }
)
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_STACK_TRACE = "pkg.torch.onnx.stack_trace"


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFile:
    """A float ONNX file, read and prepared.

    Attributes:
        path: Where it was read from.
        model: Prepared; every node has the name of its first output.
        signature: Names, dtypes, shapes and dims of the file.
        metadata: What is stored in the file.
        sources: Lines of the user's program, by the name of an output.
        warnings: What the user should know.
    """

    path: Path
    model: ModelProto
    signature: Signature
    metadata: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_float_model(path: Path) -> FloatFile:
    """Read and prepare a float ONNX file.

    Raises:
        InvalidInputError: The file is damaged, too large, or quantized already; or ONNX Runtime refuses it.
    """
    signature, metadata = HANDLER.read_signature(path), HANDLER.read_metadata(path)
    model = _load(path)
    _refuse_quantized(path, model)
    sources = dict(_read_sources(model.graph))
    warnings = _describe_bodies(model.graph)
    _drop_weights_from_inputs(model.graph)
    model = _simplify(model)
    model = rewrite_for_kernels(model)
    _compute_constant_outputs(model.graph)
    return FloatFile(
        path=path,
        model=model,
        signature=signature,
        metadata=metadata,
        sources=sources,
        warnings=warnings,
    )


def _load(path: Path) -> ModelProto:
    """The model with all its weights, also those in a second file."""
    try:
        model = onnx.load(path)
    except Exception as error:
        raise InvalidInputError(
            f"'{path.name}' cannot be read as a whole",
            why=str(error).partition("\n")[0],
            hint="a file of weights that belongs to it must stand beside it",
        ) from error
    if model.ByteSize() > _LARGEST_BYTES:
        raise InvalidInputError(
            f"'{path.name}' is too large to be quantized",
            why=f"it has {model.ByteSize() / 1e9:.1f} GB, and ONNX Runtime is handed models of up to 2 GB",
            hint="quantize its parts, or the model before it is exported",
        )
    return model


def _refuse_quantized(path: Path, model: ModelProto) -> None:
    found = {
        node.op_type
        for node in nodes_within(model.graph)
        if node.op_type in _QUANTIZED_OPERATORS or node.op_type.startswith("QLinear")
    }
    if found:
        raise InvalidInputError(
            f"'{path.name}' is quantized already",
            why="it has operators of quantized models: " + ", ".join(sorted(found)),
            hint="give the float model that it was made from; what was trained with integers is done",
        )
    if any(tensor.data_type in _HALVES for tensor in model.graph.initializer):
        raise InvalidInputError(
            f"'{path.name}' has weights in half precision",
            why="weights are quantized from the float32 values they were trained in",
            hint="export the model in float32",
        )


def _read_sources(graph: GraphProto) -> Iterator[tuple[str, str]]:
    """The lines of the user's program, which PyTorch's exporter stores with each node."""
    for node in graph.node:
        for entry in node.metadata_props:
            if entry.key == _STACK_TRACE:
                lines = [line.strip() for line in entry.value.splitlines()]
                frames = [line for line in lines if line.startswith('File "')]
                yield first_output(node), frames[-1] if frames else ""


def _describe_bodies(graph: GraphProto) -> tuple[str, ...]:
    holders = sorted({node.op_type for node in graph.node if any(bodies_of(node))})
    if not holders:
        return ()
    return (f"what is inside of {', '.join(holders)} is never made integers",)


def _drop_weights_from_inputs(graph: GraphProto) -> None:
    """Let weights be constants: files from before IR version 4 list them among the inputs, where callers may replace them."""
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)


def _compute_constant_outputs(graph: GraphProto) -> None:
    """Let an output that is a constant be made by an operator, where precisions and dtypes can be changed before and behind it."""
    outputs = {value.name for value in graph.output}
    for tensor in graph.initializer:
        if tensor.name not in outputs:
            continue
        output, tensor.name = tensor.name, f"{tensor.name}/constant"
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == output:
                    node.input[index] = tensor.name
        graph.node.append(helper.make_node("Identity", [tensor.name], [output], name=output))


def _simplify(model: ModelProto) -> ModelProto:
    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        path = Path(folder) / "simplified.onnx"
        open_session(model, optimized=path)
        simple = onnx.load(path)
    imported = {entry.domain: entry.version for entry in model.opset_import}
    needed = {node.domain for node in nodes_within(simple.graph)}
    kept = [e for e in simple.opset_import if e.domain in imported or e.domain in needed]
    # ONNX Runtime lists every operator set it knows; other readers refuse some of them.
    del simple.opset_import[:]
    simple.opset_import.extend(kept)
    simple.ir_version = max(simple.ir_version, 4)
    return simple
