"""Reads an edge graph, rewrites it to what TFLite's kernels take, and writes the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from importlib.metadata import version

from edgeconv.formats.record import write_record
from edgeconv.formats.tflite_file import METADATA_NAME
from edgeconv.formats.tflite_metadata import STANDARD_NAME, append_labels, pack_metadata
from edgeconv.graph import Graph
from edgeconv.graph.file import read_graph
from edgeconv.passes.legalize import legalize
from edgeconv.plugin import Job, JobResult, Json
from edgeconv.signature import Signature, TensorSpec
from edgeconv_converters.edge_graph_tflite.assemble import assemble
from edgeconv_converters.edge_graph_tflite.delegated import prefer_delegated
from edgeconv_converters.edge_graph_tflite.kernels import TFLITE
from edgeconv_converters.edge_graph_tflite.writer import Model, write_model

__all__ = ["convert", "write_graph_as_tflite"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Write `inputs["source"]`, an edge graph, as the TFLite file `output`.

    Args:
        request: The JSON of a `Job`.
        context: Of the worker; not used.

    Raises:
        InvalidInputError: The source is no intact edge graph.
        UnsupportedOperatorsError: TFLite has no kernels for some operators; all are listed.
        ConversionError: A dynamic dim cannot be read from any input.
    """
    job = Job.from_json(request)
    return write_graph_as_tflite(read_graph(job.inputs["source"]), job).to_json()


def write_graph_as_tflite(graph: Graph, job: Job) -> JobResult:
    """Write a graph, which is rewritten on the way.

    Raises:
        UnsupportedOperatorsError: TFLite has no kernels for some operators; all are listed.
        ConversionError: A dynamic dim cannot be read from any input.
    """
    signature = job.signature or _signature_of(graph)
    warnings = legalize(graph, TFLITE)
    prefer_delegated(graph)
    programs = assemble(
        graph,
        [spec.name for spec in signature.inputs],
        [spec.name for spec in signature.outputs],
    )
    model = Model(
        programs=programs,
        example_sizes={dim.name: dim.example for dim in graph.dims},
        metadata={
            METADATA_NAME: write_record(signature, job.metadata).encode(),
            STANDARD_NAME: pack_metadata(job.name, signature, job.metadata),
        },
    )
    oldest = write_model(model, job.output)
    append_labels(job.output, job.metadata)
    counts = Counter(operator.code for program in programs for operator in program.operators)
    return JobResult(
        output=job.output,
        warnings=tuple(warnings),
        versions={name: version(name) for name in ("ai-edge-litert", "flatbuffers")},
        details={"oldest_runtime": oldest, "operators": dict(sorted(counts.items()))},
    )


def _signature_of(graph: Graph) -> Signature:
    inputs, outputs = (
        tuple(TensorSpec(name=t.name, dtype=t.dtype, shape=t.shape) for t in tensors)
        for tensors in (graph.inputs, graph.outputs)
    )
    return Signature(inputs=inputs, outputs=outputs, dims=graph.dims)
