"""What the scoreboard holds, as it is stored in JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

__all__ = ["FORMATS", "Board", "FormatRow", "Machine", "ModelRow", "PeerTotal", "this_machine"]

FORMATS = ("onnx", "torchscript", "savedmodel", "tflite")
# The bar: four times the weights and what the frameworks themselves hold.
_WEIGHTS_SHARE = 4
_FRAMEWORKS_BYTES = 1_500_000_000
_BYTES_PER_WEIGHT = 4


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FormatRow(_Frozen):
    """One model in one format.

    Attributes:
        is_verified: Whether it was delivered, which is only done to what was verified.
        error: Why not.
        route: The converters that made it.
        lost: Routes that failed before, and why.
        seconds: What the steps of this format took after the capture, verification and lost routes included; steps
            that several formats share count for each.
        size_bytes: Of the artifact.
        latency_ms: Median of a run in its own runtime, one thread.
        relative_error: Largest difference over the reference's range, of the worst output.
    """

    is_verified: bool
    error: str = ""
    route: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    seconds: float | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    relative_error: float | None = None


class ModelRow(_Frozen):
    """One model: the run that converted it to every format at once.

    Attributes:
        date: Of the run.
        exceeded: The limit it was ended for.
        error: What it printed, where not all formats were delivered.
        seconds: From the start of the command to its end, imports included.
        capture_seconds: For the capture, the reference included.
        peak_memory_bytes: The most that all its processes held together.
        parameters: Number of weights.
        formats: By format id.
    """

    date: str
    exceeded: Literal["", "time", "memory"] = ""
    error: str = ""
    seconds: float
    capture_seconds: float | None = None
    peak_memory_bytes: int
    parameters: int | None = None
    formats: dict[str, FormatRow]

    @property
    def is_whole(self) -> bool:
        """Whether every format was delivered."""
        return all(self.formats[name].is_verified for name in FORMATS)

    @property
    def memory_over_bar(self) -> float | None:
        """Peak memory over what it may be: four times the weights and 1.5 GB; None if the weights are unknown."""
        if self.parameters is None:
            return None
        bar = _WEIGHTS_SHARE * _BYTES_PER_WEIGHT * self.parameters + _FRAMEWORKS_BYTES
        return self.peak_memory_bytes / bar


class PeerTotal(_Frozen):
    """What another tool reaches on the same models."""

    tool: str
    format: str
    models: int
    ok: int
    wrong: int
    median_seconds: float


class Machine(_Frozen):
    """Where it was measured."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str


class Board(_Frozen):
    """All of it."""

    machine: Machine
    versions: dict[str, str]
    models: dict[str, ModelRow]
    peers: tuple[PeerTotal, ...] = ()
    peers_about: str = ""

    def with_row(self, name: str, row: ModelRow, order: Iterable[str]) -> Board:
        """The board with one more row, in the order of the zoo."""
        rows = {**self.models, name: row}
        return self.model_copy(update={"models": {n: rows[n] for n in order if n in rows}})

    def verified(self, format_id: str) -> int:
        """How many models were delivered in a format."""
        return sum(row.formats[format_id].is_verified for row in self.models.values())


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        system=platform.system(),
        python=platform.python_version(),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
