"""The formats that samples are judged in: another one is a line of `FORMATS` and the functions that lower and write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch.export import ExportedProgram

from edgeconv.graph import Graph
from edgeconv.lowering.channels_first import channels_first_registry
from edgeconv.lowering.program import lower_program
from edgeconv.passes import run_passes
from edgeconv.plugin import Job
from edgeconv.signature import Signature

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """One of our writers.

    Attributes:
        title: Of its column.
        lower: Makes the graph that the writer takes of a program.
        write: Writes a graph to the job's output, and refuses what may not be delivered.
    """

    title: str
    lower: Callable[[ExportedProgram, Signature], Graph]
    write: Callable[[Graph, Job], None]


def _lower_optimized(program: ExportedProgram, signature: Signature) -> Graph:
    graph = lower_program(program, signature, name="sample")
    run_passes(graph, should_check=True)
    return graph


def _lower_channels_first(program: ExportedProgram, signature: Signature) -> Graph:
    return lower_program(program, signature, name="sample", registry=channels_first_registry())


def _write_onnx(graph: Graph, job: Job) -> None:
    from edgeconv_converters.edge_graph_onnx.worker import write_graph_as_onnx

    write_graph_as_onnx(graph, job)


def _write_savedmodel(graph: Graph, job: Job) -> None:
    from edgeconv_converters.edge_graph_savedmodel.worker import write_graph_as_savedmodel

    write_graph_as_savedmodel(graph, job)


def _write_tflite(graph: Graph, job: Job) -> None:
    from edgeconv_converters.edge_graph_tflite.worker import write_graph_as_tflite

    write_graph_as_tflite(graph, job)
    _check_builtin(job.output)


def _check_builtin(path: Path) -> None:
    """Refuse a file that needs more than TFLite's own operators.

    Raises:
        ValueError: It does.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    custom = schema.BuiltinOperator.CUSTOM
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        if code.BuiltinCode() == custom or code.CustomCode():
            raise ValueError(f"the custom operator {code.CustomCode()!r} was written")


# By the id under which edgeconv reads and runs what was written.
FORMATS: dict[str, Format] = {
    "onnx": Format("ONNX", _lower_channels_first, _write_onnx),
    "savedmodel": Format("SavedModel", _lower_optimized, _write_savedmodel),
    "tflite": Format("TFLite", _lower_optimized, _write_tflite),
}
