"""Declares the version of each operator that reads integers or half precision, and the oldest runtime that has it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from packaging.version import Version

from edgeconv.formats.tflite_stamp import store_entry
from edgeconv_converters.ai_edge_quantizer.tables import (
    Graph,
    Tables,
    code_of,
    find_or_add_code,
    present,
)

__all__ = ["declare_versions"]

_PACKAGE = "edgeconv_converters.ai_edge_quantizer"
_RUNTIME_METADATA = "min_runtime_version"
_RUNTIME_METADATA_BYTES = 16
_Type = schema.TensorType


def declare_versions(tables: Tables, oldest_runtime: str) -> None:
    """Raise versions to what the dtypes ask for, and the oldest runtime that the file names with them.

    Args:
        tables: Changed in place.
        oldest_runtime: What the float file says; empty if it says nothing, and then nothing is said.
    """
    graph = tables.subgraphs[0]
    releases = [oldest_runtime] if oldest_runtime else []
    for operator in graph.operators:
        needed = _table().get(_kind(graph, operator), {}).get(code_of(tables, operator))
        if needed is not None:
            version, release = needed
            _raise_version(tables, operator, version)
            releases.append(release)
    _drop_codes(tables)
    if oldest_runtime:
        text = max(releases, key=Version).encode().ljust(_RUNTIME_METADATA_BYTES, b"\0")
        store_entry(tables, _RUNTIME_METADATA, text)


@cache
def _table() -> Mapping[str, Mapping[str, tuple[int, str]]]:
    text = files(_PACKAGE).joinpath("versions.toml").read_text()
    return tomllib.loads(text)


def _kind(graph: Graph, operator: Any) -> str:  # noqa: ANN401 - untyped library
    """The part of the table that an operator's dtypes belong to; empty for none."""
    read = [graph.tensors[index] for index in present(operator.inputs)]
    made = [graph.tensors[index] for index in present(operator.outputs)]
    types = {tensor.type for tensor in (*read, *made)}
    for dtype in (_Type.FLOAT16, _Type.INT4, _Type.INT16):
        if dtype in types:
            return {_Type.FLOAT16: "float16", _Type.INT4: "int4", _Type.INT16: "int16"}[dtype]
    if _Type.INT8 not in types:
        return ""
    is_wide = bool(made) and made[0].type == _Type.FLOAT32
    has_channels = any(_count_scales(tensor) > 1 for tensor in read)
    return "channels" if is_wide and has_channels else "int8"


def _count_scales(tensor: Any) -> int:  # noqa: ANN401 - untyped library
    scale = None if tensor.quantization is None else tensor.quantization.scale
    return 0 if scale is None else len(scale)


def _raise_version(tables: Tables, operator: Any, version: int) -> None:  # noqa: ANN401 - untyped library
    code = tables.operatorCodes[operator.opcodeIndex]
    if code.version < version:
        operator.opcodeIndex = find_or_add_code(tables, code.builtinCode, version)


def _drop_codes(tables: Tables) -> None:
    """Forget operators that no longer occur."""
    operators = [operator for graph in tables.subgraphs for operator in graph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    places = {index: place for place, index in enumerate(used)}
    for operator in operators:
        operator.opcodeIndex = places[operator.opcodeIndex]
    tables.operatorCodes = [tables.operatorCodes[index] for index in used]
