"""Reads a float TFLite file, and refuses one that is quantized already."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from edgeconv.errors import InvalidInputError
from edgeconv.formats.tflite_file import LARGEST_FLATBUFFER
from edgeconv.formats.tflite_model import TfliteModel, read_model
from edgeconv.formats.tflite_stamp import unpack_model
from edgeconv_converters.ai_edge_quantizer.tables import Tables, code_of, copy_tables, name_tensors

__all__ = ["FloatFile", "read_float"]

_TYPES = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
_CASTS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFile:
    """A float TFLite file.

    Attributes:
        path: Where it is.
        declared: What it declares.
        tables: Its tables; every tensor has a name of its own, inputs and outputs that of the signature.
    """

    path: Path
    declared: TfliteModel
    tables: Tables


def read_float(path: Path) -> FloatFile:
    """Read a file.

    Raises:
        InvalidInputError: It is damaged, quantized already, or larger than 2 GB.
    """
    declared = read_model(path)
    size_bytes = path.stat().st_size
    if size_bytes > LARGEST_FLATBUFFER:
        raise InvalidInputError(
            f"'{path}' is too large to be quantized",
            why=f"it has {size_bytes / 1e9:.1f} GB; what is above 2 GB stands outside of the flatbuffer",
            hint="quantize the parts of the model in files of their own, or its ONNX file",
        )
    tables = _unpack(path)
    _refuse_quantized(path, tables)
    _tidy(tables)
    # As its caller knows them; the first name of a tensor that has several.
    ends = {index: name for name, index in reversed((*declared.inputs, *declared.outputs))}
    name_tensors(tables, ends)
    return FloatFile(path=path, declared=declared, tables=tables)


def _unpack(path: Path) -> Tables:
    """The tables; what is damaged beneath the part that tells inputs and outputs is found here.

    Raises:
        InvalidInputError: It is damaged.
    """
    try:
        return copy_tables(unpack_model(path))
    except (ValueError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise InvalidInputError(
            f"'{path}' is no intact TFLite file",
            why=f"{type(error).__name__}: {error}",
            hint="it may be truncated: fetch or export it again",
        ) from error


def _refuse_quantized(path: Path, tables: Tables) -> None:
    found: Counter[str] = Counter()
    for graph in tables.subgraphs:
        for tensor in graph.tensors:
            scale = None if tensor.quantization is None else tensor.quantization.scale
            has_details = (
                tensor.quantization is not None and tensor.quantization.details is not None
            )
            has_scale = has_details or (scale is not None and len(scale) > 0)
            is_half = tensor.type == schema.TensorType.FLOAT16
            if is_half or (has_scale and tensor.type != schema.TensorType.FLOAT32):
                found[f"{_TYPES.get(tensor.type, tensor.type)} tensors"] += 1
        codes = Counter(code_of(tables, operator) for operator in graph.operators)
        found.update({f"{code} operators": codes[code] for code in _CASTS if codes[code]})
    if found:
        raise InvalidInputError(
            f"'{path}' is quantized already",
            why="it has " + ", ".join(f"{count} {what}" for what, count in sorted(found.items())),
            hint="give the float32 file that it was made from; what was trained with integers is done",
        )


def _tidy(tables: Tables) -> None:
    """Drop what says nothing: quantization parameters of a float file, buffers of no bytes, old numbers of operators."""
    for graph in tables.subgraphs:
        for tensor in graph.tensors:
            tensor.quantization = None
    for buffer in tables.buffers:
        if not buffer.size_bytes:
            buffer.data = None
    for code in tables.operatorCodes:
        # Files of old tools have the number in the old field alone, which ai-edge-quantizer does not read.
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
