"""What the executor is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeconv.execute.memory import default_limit_bytes
from edgeconv.execute.records import Criterion
from edgeconv.plugin.extension import Extension
from edgeconv.plugin.job import JobResult, Json

__all__ = ["ConversionRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRequest:
    """One model, and the formats it is to be converted to.

    Attributes:
        name: The model's name; names the files.
        source: The model as the user named it.
        source_format: Where it enters the graph of converters: `torch`, or the format of a file.
        source_path: The file or folder, unless it is `torch`.
        goals: Format ids, in the order asked.
        out: Folder that receives the artifacts; created if missing.
        capture_options: What the capture step is given; the executor does not look inside.
        captured: A capture that is done already, with its folder; nothing is captured then.
        samples: File or folder with real inputs to verify with, besides those that are drawn.
        reference: Samples and the model's outputs for them, in place of those that the capture left.
        converter_options: Options by converter id.
        verify_options: Further options of the verification.
        metadata: Stored inside artifacts: author, description, labels.
        via: Converters or formats that routes must pass.
        avoid: Converters or formats that no route may pass.
        environments: Ids of environments of converters that exist on this machine.
        extensions: What plug-ins add to converters, by entry-point group.
        best: What decides between the artifacts of all routes; the first that is verified is taken unless given.
        jobs: Steps that may run side by side; None for one per core.
        timeout_seconds: For one step; None for no limit.
        memory_limit_bytes: For one step's process; None for no limit.
        use_cache: Whether results of earlier runs are used, and kept.
        seed: For anything random.
    """

    name: str
    source: str
    goals: tuple[str, ...]
    out: Path
    source_format: str = "torch"
    source_path: Path | None = None
    capture_options: Mapping[str, Json] = field(default_factory=dict)
    captured: JobResult | None = None
    samples: Path | None = None
    reference: Path | None = None
    converter_options: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    verify_options: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    via: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    extensions: Mapping[str, tuple[Extension, ...]] = field(default_factory=dict)
    best: Criterion | None = None
    jobs: int | None = None
    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    use_cache: bool = True
    seed: int = 0

    def with_memory_limit(self, limit_bytes: int | None) -> ConversionRequest:
        """The same with a limit for each step, unless it has one; None for most of what the machine has."""
        if self.memory_limit_bytes is not None:
            return self
        return replace(self, memory_limit_bytes=limit_bytes or default_limit_bytes())
