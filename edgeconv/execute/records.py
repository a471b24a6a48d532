"""What happened in a run: plain data that the progress display and the report are drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError
from edgeconv.plugin.job import Json
from edgeconv.signature import Signature
from edgeconv.validation.verdict import Verdict

__all__ = [
    "CRITERIA",
    "Attempt",
    "Candidate",
    "Criterion",
    "GoalOutcome",
    "Listener",
    "Outcome",
    "Step",
    "StepRecord",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of work: a capture, a conversion, a verification, a measurement, or the diagnosis of a failure."""

    id: str
    kind: Literal["capture", "convert", "verify", "measure", "diagnose"]
    converter: str
    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step that ended.

    Attributes:
        step: What was to be done.
        started_seconds: When it started, counted from the start of the run.
        seconds: Wall time.
        peak_memory_bytes: Of its worker process while the step ran; 0 when it came from the cache.
        is_cache_hit: Whether nothing was computed.
        versions: Versions of the tools that did it.
        warnings: What the user should know.
        details: Facts from the converter, such as the ONNX opset.
        error: The typed failure, or None.
        log: What the tool printed; None if nothing.
    """

    step: Step
    started_seconds: float
    seconds: float
    peak_memory_bytes: int = 0
    is_cache_hit: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Json] = field(default_factory=dict)
    error: EdgeconvError | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One route tried for one format, and how it ended; `verified` is what lost against a better one."""

    route: tuple[str, ...]
    result: Literal["delivered", "verified", "failed", "rejected"]
    reason: str = ""
    verdict: Verdict | None = None
    error: EdgeconvError | None = None


Criterion: TypeAlias = Literal["latency", "size", "accuracy"]
"""What makes one artifact better than another."""

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An artifact that was verified, compared with those of other routes.

    Attributes:
        route: Ids of the converters that made it.
        size_bytes: On disk.
        latency_seconds: Median of one run of the example on this machine; None if it could not be measured.
        error: The largest error of any output over what it may be, 0 to 1.
        is_chosen: Whether it is the best, and was delivered.
        reason: Why it was chosen although another has a better figure; empty where none has.
    """

    route: tuple[str, ...]
    size_bytes: int
    latency_seconds: float | None
    error: float
    is_chosen: bool = False
    reason: str = ""

    def rank(self, best: Criterion) -> float:
        """The smaller the better; what could not be measured is last."""
        if best == "size":
            return self.size_bytes
        if best == "accuracy":
            return self.error
        return math.inf if self.latency_seconds is None else self.latency_seconds

    def chosen(self, reason: str = "") -> Candidate:
        """The same, chosen."""
        return replace(self, is_chosen=True, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalOutcome:
    """What became of one format that was asked for.

    Attributes:
        format: Format id.
        attempts: Routes that were tried, in order.
        artifact: What was delivered.
        candidates: What was compared, where all routes were followed to find the best.
        verdict: The last there was.
        rejected_path: Where an artifact that failed verification is kept.
        reproduction: Folder with the smallest part of the model that fails, and a script.
        error: Set when nothing was delivered.
    """

    format: str
    attempts: tuple[Attempt, ...]
    artifact: Artifact | None = None
    verdict: Verdict | None = None
    rejected_path: Path | None = None
    reproduction: Path | None = None
    candidates: tuple[Candidate, ...] = ()
    error: EdgeconvError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A whole run.

    Attributes:
        name: The model's name.
        source: The model as the user named it.
        source_digest: SHA-256 over what it was made from; empty if capture failed.
        signature: Of the captured model; None if capture failed.
        parameters: Number of weights; None if unknown.
        goals: One entry for each format asked for, in the order asked.
        steps: All steps that ran or came from the cache, by start time.
        seconds: Wall time of the run.
        peak_memory_bytes: Of the whole process tree.
        seed: What everything random was drawn from.
        warnings: What the user should know about the whole run.
    """

    name: str
    source: str
    source_digest: str
    signature: Signature | None
    parameters: int | None
    goals: tuple[GoalOutcome, ...]
    steps: tuple[StepRecord, ...]
    seconds: float
    peak_memory_bytes: int
    seed: int
    warnings: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0, or the status of the first format that was not delivered."""
        return next((goal.error.exit_status for goal in self.goals if goal.error), 0)


class Listener(Protocol):
    """Hears of steps as they happen; called from several threads."""

    def step_started(self, step: Step) -> None:
        """A step begins."""
        ...

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """A step ended; a verification brings its verdict."""
        ...
