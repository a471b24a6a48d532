"""The formats that samples are judged in: another one is a line of `FORMATS` and the function that writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeconv.graph import Graph
from edgeconv.plugin import Job

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """One of our writers.

    Attributes:
        title: Of its column.
        write: Writes a graph to the job's output, and refuses what may not be delivered.
    """

    title: str
    write: Callable[[Graph, Job], None]


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
    "savedmodel": Format("SavedModel", _write_savedmodel),
    "tflite": Format("TFLite", _write_tflite),
}
