"""Carries out a plan: ai-edge-quantizer for integers, halves beside it, names and metadata as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.errors import counted
from edgeconv.formats.record import PRECISION_KEY, write_record
from edgeconv.formats.tflite_file import METADATA_NAME
from edgeconv.formats.tflite_stamp import store_entry
from edgeconv.plugin.quantizer import (
    FLOAT32,
    Operator,
    Precision,
    QuantizationPlan,
    QuantizedFile,
)
from edgeconv.signature import DType, TensorSpec
from edgeconv_converters.ai_edge_quantizer.finishing import Ends, finish_tables
from edgeconv_converters.ai_edge_quantizer.halves import store_halves
from edgeconv_converters.ai_edge_quantizer.library import quantize_tables
from edgeconv_converters.ai_edge_quantizer.reading import FloatFile
from edgeconv_converters.ai_edge_quantizer.recipe import make_recipe
from edgeconv_converters.ai_edge_quantizer.statistics import (
    Floats,
    make_statistics,
    refuse_gaps,
    refuse_unbounded,
)
from edgeconv_converters.ai_edge_quantizer.stored import (
    is_stored_here,
    precision_stored,
    store_weights,
)
from edgeconv_converters.ai_edge_quantizer.tables import (
    Tables,
    constant_of,
    copy_tables,
    write_tables,
)
from edgeconv_converters.ai_edge_quantizer.unsigned import make_ends_unsigned
from edgeconv_converters.ai_edge_quantizer.versions import declare_versions

__all__ = ["quantize_file"]

Refuse = Callable[[Operator, Precision], str]

_LIBRARIES = ("ai-edge-litert", "ai-edge-quantizer")
_FLOAT = schema.TensorType.FLOAT32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """What each operator that changes is to compute in, and why others are not in what was asked."""

    integers: dict[str, Precision] = field(default_factory=dict)
    stored: dict[str, Precision] = field(default_factory=dict)
    halves: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)

    def take(self, operator: Operator, wanted: Precision) -> None:
        """Put an operator where its work is done."""
        if wanted.weights == "float16":
            self.halves.add(operator.name)
        elif is_stored_here(operator.code, wanted):
            self.stored[operator.name] = stored = precision_stored(operator.code, wanted)
            if stored != wanted:
                self.reasons[operator.name] = "its table has a scale for each row and gives float32"
        elif wanted != FLOAT32:
            self.integers[operator.name] = wanted


def quantize_file(
    file: FloatFile,
    operators: Sequence[Operator],
    plan: QuantizationPlan,
    path: Path,
    *,
    refuse: Refuse,
) -> QuantizedFile:
    """Write a quantized file.

    Raises:
        ConversionError: A range is missing, or ai-edge-quantizer fails.
        OSError: It cannot be written; what was written of it stays for the caller to remove.
    """
    tables = copy_tables(file.tables)
    constants = _find_constants(tables, operators)
    decision = _decide(operators, plan, refuse, constants)
    ends = Ends.of(tables.subgraphs[0])
    _quantize_integers(tables, operators, decision.integers, plan, constants)
    store_weights(tables, decision.stored)
    if plan.io == DType.UINT8:
        make_ends_unsigned(tables)
    halved = store_halves(tables, decision.halves)
    finish_tables(tables, ends)
    declare_versions(tables, file.declared.metadata.get("min_runtime_version", ""))
    _store_record(tables, file, plan)
    write_tables(tables, path, file.path)
    precisions = {
        **{operator.name: FLOAT32 for operator in operators},
        **decision.integers,
        **decision.stored,
        **dict.fromkeys(halved, Precision(weights="float16")),
    }
    return QuantizedFile(
        precisions=precisions,
        reasons=decision.reasons,
        versions={name: version(name) for name in _LIBRARIES},
        warnings=_warn(tables),
    )


def _warn(tables: Tables) -> tuple[str, ...]:
    inner = len(tables.subgraphs) - 1
    if not inner:
        return ()
    return (f"what loops and branches do stays in float32: {counted(inner, 'inner graph')}",)


def _store_record(tables: Tables, file: FloatFile, plan: QuantizationPlan) -> None:
    """What edgeconv knows of the file, with the new precision and dtypes."""
    declared = file.declared
    metadata = {**declared.record, PRECISION_KEY: plan.default.name}
    signature = replace(
        declared.signature,
        inputs=_with_dtype(declared.signature.inputs, plan.io),
        outputs=_with_dtype(declared.signature.outputs, plan.io),
    )
    store_entry(tables, METADATA_NAME, write_record(signature, metadata).encode())


def _with_dtype(specs: Sequence[TensorSpec], io: DType) -> tuple[TensorSpec, ...]:
    return tuple(replace(s, dtype=io) if s.dtype == DType.FLOAT32 else s for s in specs)


def _find_constants(tables: Tables, operators: Sequence[Operator]) -> dict[str, Floats]:
    """The float32 constants that operators read, by name."""
    by_name = {t.name.decode(errors="replace"): t for t in tables.subgraphs[0].tensors}
    found: dict[str, Floats] = {}
    for name in dict.fromkeys(name for operator in operators for name in operator.inputs if name):
        value = constant_of(tables, by_name[name]) if by_name[name].type == _FLOAT else None
        if value is not None:
            found[name] = value.astype(np.float32, copy=False)
    return found


def _decide(
    operators: Sequence[Operator],
    plan: QuantizationPlan,
    refuse: Refuse,
    constants: Mapping[str, Floats],
) -> _Decision:
    decision = _Decision()
    for operator in operators:
        wanted = plan.precision_of(operator.name)
        reason = refuse(operator, wanted) or refuse_unbounded(
            operator, wanted, plan.ranges, constants
        )
        if reason:
            decision.reasons[operator.name] = reason
        else:
            decision.take(operator, wanted)
    return decision


def _quantize_integers(
    tables: Tables,
    operators: Sequence[Operator],
    precisions: Mapping[str, Precision],
    plan: QuantizationPlan,
    constants: Mapping[str, Floats],
) -> None:
    graph = tables.subgraphs[0]
    by_name = {tensor.name.decode(errors="replace"): tensor for tensor in graph.tensors}
    needed: dict[str, str] = {}
    for operator in operators:
        if operator.name not in precisions or not precisions[operator.name].is_static:
            continue
        for name in (*operator.inputs, *operator.outputs):
            if name and by_name[name].type == _FLOAT and name not in constants:
                needed[name] = operator.name
    if plan.io != DType.FLOAT32:
        ends = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
        needed.update({t.name.decode(): "inputs and outputs" for t in ends if t.type == _FLOAT})
    refuse_gaps(needed, plan.ranges)
    recipe = make_recipe(tables, precisions, plan.io)
    statistics = make_statistics(operators, precisions, plan.ranges, constants)
    quantize_tables(tables, recipe, statistics)
