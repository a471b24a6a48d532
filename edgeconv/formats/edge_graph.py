"""Edge graphs as artifacts: what they declare. They are written to other formats, not run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.formats.handler import Session
from edgeconv.signature import Signature, TensorSpec

__all__ = ["HANDLER", "EdgeGraphHandler"]


class EdgeGraphHandler:
    """Reads and labels edge graphs."""

    def read_signature(self, path: Path) -> Signature:
        """Inputs, outputs and dims of the graph.

        Raises:
            InvalidInputError: The file is damaged.
        """
        from edgeconv.graph.file import read_graph

        graph = read_graph(path)
        inputs, outputs = (
            tuple(TensorSpec(name=t.name, dtype=t.dtype, shape=t.shape) for t in tensors)
            for tensors in (graph.inputs, graph.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs, dims=graph.dims)

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What was stored beside the graph.

        Raises:
            InvalidInputError: The file is damaged.
        """
        from edgeconv.graph.file import read_metadata

        return read_metadata(path)

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Rename inputs and outputs and store metadata.

        Raises:
            InvalidInputError: The file is damaged.
            OSError: It cannot be rewritten; it is as it was.
        """
        from edgeconv.graph.file import read_graph, write_graph

        graph = read_graph(path)
        for tensors, specs in (
            (graph.inputs, signature.inputs),
            (graph.outputs, signature.outputs),
        ):
            for tensor, spec in zip(tensors, specs, strict=True):
                tensor.name = spec.name
        aside = path.with_name(f".{path.name}.stamping")
        try:
            write_graph(graph, aside, metadata)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - the protocol's
        """Refuse: a graph has no runtime of its own.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"'{path.name}' is an edge graph, which does not run",
            hint="convert the model to tflite or savedmodel and run that",
        )


HANDLER = EdgeGraphHandler()
