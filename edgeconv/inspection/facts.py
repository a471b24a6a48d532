"""What is known about a model: plain data that crosses from the worker to the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from edgeconv.plugin.job import Json
from edgeconv.signature import Signature

__all__ = ["ModelFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model as it was found.

    Attributes:
        format: Format id.
        size_bytes: Of the file or folder.
        signature: Inputs and outputs.
        metadata: What is stored inside the file.
        operators: How often each operator occurs, by its name in that format.
        parameters: Number of weights; None if unknown.
        graph: The graph as text, where that was asked for.
    """

    format: str
    size_bytes: int
    signature: Signature
    metadata: Mapping[str, str] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)
    parameters: int | None = None
    graph: str = ""

    def to_json(self) -> dict[str, Json]:
        """The facts as JSON data."""
        return {
            "format": self.format,
            "bytes": self.size_bytes,
            "signature": cast("Json", self.signature.to_json()),
            "metadata": dict(self.metadata),
            "operators": dict(self.operators),
            "parameters": self.parameters,
            "graph": self.graph,
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> ModelFacts:
        """The facts that `to_json` wrote."""
        return ModelFacts(
            format=str(data["format"]),
            size_bytes=cast("int", data["bytes"]),
            signature=Signature.from_json(cast("dict[str, object]", data["signature"])),
            metadata=cast("dict[str, str]", data["metadata"]),
            operators=cast("dict[str, int]", data["operators"]),
            parameters=cast("int | None", data["parameters"]),
            graph=str(data["graph"]),
        )
