"""One step in a worker: what it is given, and what it gives back. Both are plain JSON on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from edgeconv.signature import Signature

__all__ = ["Job", "JobResult", "Json"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a converter's worker function is given.

    Attributes:
        name: The model's name.
        inputs: Files by role: `source`, and for some steps `reference`.
        output: Where the result is to be written; the executor moves it into place afterwards.
        signature: Names, dtypes and dynamic dims that the result must have; None before capture.
        metadata: What to store inside the result.
        options: Options of this converter.
        seed: For anything random.
    """

    name: str
    inputs: Mapping[str, Path]
    output: Path
    signature: Signature | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    seed: int = 0

    def to_json(self) -> dict[str, Json]:
        """The job as JSON data."""
        signature = None if self.signature is None else self.signature.to_json()
        return {
            "name": self.name,
            "inputs": {role: str(path) for role, path in self.inputs.items()},
            "output": str(self.output),
            "signature": cast("Json", signature),
            "metadata": dict(self.metadata),
            "options": dict(self.options),
            "seed": self.seed,
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> Job:
        """The job that `to_json` wrote."""
        inputs, signature = data["inputs"], data.get("signature")
        if not isinstance(inputs, dict):
            raise TypeError(f"inputs of a job must be an object, not {inputs!r}")
        return Job(
            name=str(data["name"]),
            inputs={role: Path(str(path)) for role, path in inputs.items()},
            output=Path(str(data["output"])),
            signature=Signature.from_json(signature) if isinstance(signature, dict) else None,
            metadata=cast("dict[str, str]", data.get("metadata") or {}),
            options=cast("dict[str, Json]", data.get("options") or {}),
            seed=cast("int", data.get("seed", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a converter's worker function gives back.

    Attributes:
        output: The file or folder written.
        warnings: What the user should know.
        versions: Versions of the tools that did the work.
        details: Facts for the report, such as the ONNX opset or the oldest runtime that takes the file.
    """

    output: Path
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The result as JSON data."""
        return {
            "output": str(self.output),
            "warnings": list(self.warnings),
            "versions": dict(self.versions),
            "details": dict(self.details),
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> JobResult:
        """The result that `to_json` wrote."""
        return JobResult(
            output=Path(str(data["output"])),
            warnings=tuple(str(line) for line in cast("list[Json]", data.get("warnings") or [])),
            versions=cast("dict[str, str]", data.get("versions") or {}),
            details=cast("dict[str, Json]", data.get("details") or {}),
        )
