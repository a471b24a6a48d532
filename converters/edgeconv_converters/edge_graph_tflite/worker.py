"""Reads an edge graph, rewrites it to what TFLite's kernels take, and writes the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from importlib.metadata import version

from edgeconv.formats.record import write_record
from edgeconv.formats.tflite_file import LARGEST_FLATBUFFER, METADATA_NAME
from edgeconv.formats.tflite_metadata import STANDARD_NAME, append_labels, pack_metadata
from edgeconv.graph import Graph
from edgeconv.graph.file import read_graph
from edgeconv.passes.legalize import legalize
from edgeconv.plugin import Job, JobResult, Json
from edgeconv_converters.edge_graph_tflite.assemble import assemble
from edgeconv_converters.edge_graph_tflite.delegated import prefer_delegated
from edgeconv_converters.edge_graph_tflite.kernels import TFLITE
from edgeconv_converters.edge_graph_tflite.trained import compute_in_integers
from edgeconv_converters.edge_graph_tflite.writer import Model, write_model

__all__ = ["convert", "write_graph_as_tflite"]

_LARGE = (
    "the model is larger than 2 GB: its weights stand behind the flatbuffer, where a runtime before"
    " TensorFlow Lite 2.15, such as that of Google Play services of its time, does not find them"
)


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


def write_graph_as_tflite(
    graph: Graph, job: Job, *, largest_flatbuffer: int = LARGEST_FLATBUFFER
) -> JobResult:
    """Write a graph, which is rewritten on the way; a file with more bytes has its weights behind the flatbuffer.

    Raises:
        UnsupportedOperatorsError: TFLite has no kernels for some operators; all are listed.
        ConversionError: A dynamic dim cannot be read from any input.
    """
    signature = job.signature or graph.signature()
    warnings = legalize(graph, TFLITE)
    account = compute_in_integers(graph)
    prefer_delegated(graph)
    sources = graph.sources()
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
    written = write_model(model, job.output, largest_flatbuffer=largest_flatbuffer)
    append_labels(job.output, job.metadata)
    if written.is_large:
        warnings = [*warnings, _LARGE]
    counts = Counter(operator.code for program in programs for operator in program.operators)
    return JobResult(
        output=job.output,
        warnings=tuple(warnings),
        versions={name: version(name) for name in ("ai-edge-litert", "flatbuffers")},
        details={
            "oldest_runtime": written.oldest_runtime,
            "operators": dict(sorted(counts.items())),
            "has_outside_buffers": written.is_large,
            "sources": dict(sources),
            **({} if account is None else account.to_json()),
        },
    )
