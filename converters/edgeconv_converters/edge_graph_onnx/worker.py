"""Lowers the captured program with channels first, and writes it as an ONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import replace

import onnx
import torch

from edgeconv.errors import CaptureError
from edgeconv.formats.onnx import put_record
from edgeconv.formats.onnx_checking import check_model
from edgeconv.formats.onnx_file import DATA_FILE_NOTE, write_onnx
from edgeconv.graph import Graph
from edgeconv.lowering.channels_first import channels_first_registry
from edgeconv.lowering.program import lower_program
from edgeconv.lowering.sources import plugin_operators
from edgeconv.passes.activations import join_activations
from edgeconv.passes.batch_norm import join_batch_norms
from edgeconv.passes.cleanup import clean_graph
from edgeconv.passes.fold import fold_affine
from edgeconv.passes.legalize import legalize
from edgeconv.passes.pipeline import Pass, run_passes
from edgeconv.plugin import PLUGIN_OPERATORS, Job, JobResult, Json, load_extensions
from edgeconv.plugin.live import read_program
from edgeconv_converters.edge_graph_onnx.kernels import ONNX
from edgeconv_converters.edge_graph_onnx.stored import count_between_integers, ready_for_integers
from edgeconv_converters.edge_graph_onnx.writer import build_model

__all__ = ["convert", "write_graph_as_onnx"]

_CLEAN = Pass(name="clean", run=clean_graph)
_BEFORE = (_CLEAN, Pass(name="activations", run=join_activations))
# What the expansions of operators with channels last leave between them is cleaned away.
_AFTER = (
    _CLEAN,
    Pass(name="fold", run=fold_affine),
    Pass(name="batch-norm", run=join_batch_norms),
)


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Write the captured program `inputs["source"]` as the ONNX file `output`.

    Args:
        request: The JSON of a `Job` with a signature.
        context: Of the worker; holds the program when it was captured here.

    Raises:
        UnsupportedOperatorsError: Operators cannot be lowered, or ONNX has none for them; all are listed.
        CaptureError: The job has no signature.
        ConversionError: A dynamic dim cannot be read from any input, or the checker refuses the file.
    """
    job = Job.from_json(request)
    if job.signature is None:
        raise CaptureError("a program cannot be lowered before it was captured")
    added, warnings = load_extensions(job)
    registry, refused = channels_first_registry().extended(added)
    # What a plug-in is for may be defined by it: the program is read after it.
    program = read_program(context, job.inputs["source"])
    graph = lower_program(program, job.signature, name=job.name, registry=registry)
    result = write_graph_as_onnx(graph, job)
    brought: dict[str, Json] = dict(plugin_operators(program.graph_module, registry))
    return replace(
        result,
        warnings=(*warnings, *refused, *result.warnings),
        details={**result.details, PLUGIN_OPERATORS: brought},
    ).to_json()


def write_graph_as_onnx(graph: Graph, job: Job) -> JobResult:
    """Write a graph that was lowered with channels first; it is rewritten on the way.

    Raises:
        UnsupportedOperatorsError: ONNX has none for some operators; all are listed.
        ConversionError: A dynamic dim cannot be read from any input, or the checker refuses the file.
    """
    run_passes(graph, _BEFORE)
    warnings = legalize(graph, ONNX)
    run_passes(graph, _AFTER)
    ready_for_integers(graph)
    account = count_between_integers(graph)
    model = build_model(graph)
    put_record(model.proto, job.signature or graph.signature(), job.metadata)
    check_model(model.proto, model.weights)
    has_data_file = write_onnx(job.output, model.proto, model.weights)
    if has_data_file:
        warnings = [*warnings, DATA_FILE_NOTE]
    counts = Counter(node.op_type for node in model.proto.graph.node)
    return JobResult(
        output=job.output,
        warnings=tuple(warnings),
        versions={"onnx": onnx.__version__, "torch": torch.__version__},
        details={
            "ir_version": model.proto.ir_version,
            "opset": {
                entry.domain or "ai.onnx": entry.version for entry in model.proto.opset_import
            },
            "operators": dict(counts.most_common()),
            "has_data_file": has_data_file,
            "sources": dict(graph.sources()),
            **account,
        },
    )
