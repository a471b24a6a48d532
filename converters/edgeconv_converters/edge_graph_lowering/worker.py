"""Lowers the captured program, runs the passes, writes the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping

import torch

from edgeconv.errors import CaptureError
from edgeconv.graph.file import write_graph
from edgeconv.lowering.families import built_in_registry
from edgeconv.lowering.program import lower_program
from edgeconv.lowering.sources import plugin_operators
from edgeconv.passes import run_passes
from edgeconv.plugin import PLUGIN_OPERATORS, Job, JobResult, Json, load_extensions
from edgeconv.plugin.live import read_program

__all__ = ["convert"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Lower `inputs["source"]`, a `.pt2`, into the edge graph `output`.

    Args:
        request: The JSON of a `Job` with a signature.
        context: Of the worker; holds the program when it was captured here.

    Raises:
        UnsupportedOperatorsError: Operators cannot be lowered; all are listed.
        CaptureError: The job has no signature.
    """
    job = Job.from_json(request)
    if job.signature is None:
        raise CaptureError("a program cannot be lowered before it was captured")
    added, warnings = load_extensions(job)
    registry, refused = built_in_registry().extended(added)
    # What a plug-in is for may be defined by it: the program is read after it.
    program = read_program(context, job.inputs["source"])
    graph = lower_program(program, job.signature, name=job.name, registry=registry)
    changes = run_passes(graph)
    write_graph(graph, job.output, job.metadata)
    details: dict[str, Json] = {
        "operators": dict(Counter(node.op for node in graph.nodes).most_common()),
        "transposes": sum(node.op == "TRANSPOSE" for node in graph.nodes),
        "passes": dict(changes),
        PLUGIN_OPERATORS: dict(plugin_operators(program.graph_module, registry)),
    }
    return JobResult(
        output=job.output,
        warnings=(*warnings, *refused),
        versions={"torch": torch.__version__},
        details=details,
    ).to_json()
