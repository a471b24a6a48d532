"""The worker's side of `edgeconv inspect`: opens a model file with the library of its format."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from edgeconv.artifact import measure_size
from edgeconv.formats import load_handler
from edgeconv.inspection.facts import ModelFacts
from edgeconv.inspection.operators import count_operators
from edgeconv.inspection.parameters import count_parameters
from edgeconv.plugin.job import Json
from edgeconv.validation.integers import read_real_signature

__all__ = ["inspect_file"]


def inspect_file(
    request: Mapping[str, Json],
    context: MutableMapping[str, object],  # noqa: ARG001 - every entry is called so
) -> dict[str, Json]:
    """What is known about a model file.

    Args:
        request: `path`, `format`, `graph`: whether the text of an edge graph is wanted, and `real`: whether the signature is to
            have float32 for integers that stand for real numbers, as the model has it.
        context: Of the process; not used.

    Raises:
        InvalidInputError: The file is damaged.
        MissingDependencyError: The library of its format is not installed.
    """
    path, format_id = Path(str(request["path"])), str(request["format"])
    handler = load_handler(format_id)
    facts = ModelFacts(
        format=format_id,
        size_bytes=measure_size(path),
        signature=read_real_signature(path)
        if request.get("real")
        else handler.read_signature(path),
        metadata=handler.read_metadata(path),
        operators=count_operators(format_id, path),
        parameters=count_parameters(format_id, path),
        graph=_graph_text(path) if request.get("graph") and format_id == "edge-graph" else "",
    )
    return facts.to_json()


def _graph_text(path: Path) -> str:
    from edgeconv.graph import format_graph
    from edgeconv.graph.file import read_graph

    return format_graph(read_graph(path))
