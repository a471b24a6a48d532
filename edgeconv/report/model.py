"""The shape of `report.json`: what is published as JSON Schema is generated from these models.

A field is only ever added; what changes its meaning or goes needs a new schema id. Numbers that are not finite
(an error compared with NaN) are `null`, since JSON has no word for them.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "SCHEMA_ID",
    "ArtifactReport",
    "AttemptReport",
    "CandidateReport",
    "DimReport",
    "ErrorReport",
    "ExecutionReport",
    "GoalReport",
    "HostReport",
    "OutputReport",
    "PackageReport",
    "RejectedConverter",
    "Report",
    "RouteCostReport",
    "RouteReport",
    "SignatureReport",
    "SourceReport",
    "StepReport",
    "TensorReport",
    "VerdictReport",
]

SCHEMA_ID: Final = "edgeconv.report/1"


class _Model(BaseModel):
    # A reader of an older edgeconv meets fields it does not know yet, and goes on.
    model_config = ConfigDict(extra="ignore", frozen=True)


class HostReport(_Model):
    """The machine and the interpreter of the run."""

    system: str = Field(description="Operating system and kernel release.")
    machine: str = Field(description="Processor architecture.")
    cores: int = Field(description="Processor cores the run could use.")
    memory_bytes: int = Field(description="Memory of the machine.")
    python: str = Field(description="Version of Python.")


class SourceReport(_Model):
    """The model that was converted."""

    model: str = Field(description="The model as the user named it.")
    digest: str = Field(description="SHA-256 over its code and weights; empty if capture failed.")
    parameters: int | None = Field(description="Number of weights; null if unknown.")


class TensorReport(_Model):
    """One input or output."""

    name: str
    dtype: str
    shape: list[int | str] = Field(description="Sizes; a dynamic one is an expression of dims.")
    layout: Literal["nchw", "nhwc", "none"] = "none"


class DimReport(_Model):
    """A named dynamic dim."""

    name: str
    example: int
    min: int
    max: int | None = None


class SignatureReport(_Model):
    """What goes in and what comes out."""

    inputs: list[TensorReport]
    outputs: list[TensorReport]
    dims: list[DimReport] = Field(default_factory=list)


class ErrorReport(_Model):
    """A typed failure."""

    code: str = Field(description="Stable identifier of the kind of error.")
    message: str = Field(description="What failed.")
    why: str = Field(description="The cause, as far as it is known.")
    hint: str = Field(description="What to do next.")
    details: list[str] = Field(description="One line for each problem.")
    exit_status: int = Field(description="What the command line ends with for this error.")
    failure_kind: str = Field(description="How the step failed.")


class OutputReport(_Model):
    """How one output differs from the reference, over all samples."""

    name: str
    max_abs_error: float | None = Field(description="Largest absolute difference.")
    mean_abs_error: float | None = Field(description="Mean absolute difference.")
    relative_error: float | None = Field(
        description="Largest absolute difference over the reference's range."
    )
    cosine: float | None = Field(description="Smallest cosine similarity of any sample.")
    snr_db: float | None = Field(
        description="Signal-to-noise ratio in dB; null without any difference."
    )
    top1_agreement: float | None = Field(
        description="Share of positions whose largest class agrees."
    )
    noise_floor: float | None = Field(
        description="Largest absolute difference of the model in float32 and in float64."
    )
    error_over_floor: float | None = Field(description="max_abs_error over noise_floor.")
    tolerance: float | None = Field(description="The largest absolute difference that passes.")
    passed: bool
    reason: str = Field(description="Why it did not pass.")


class VerdictReport(_Model):
    """Whether an artifact computes what the model computes."""

    reference: str = Field(description="What it was compared with.")
    candidate: str = Field(description="Digest of the artifact.")
    format: str
    device: str = Field(description="Where it ran.")
    samples: int = Field(description="How many samples were compared.")
    sizes: list[dict[str, int]] = Field(description="Sizes of the dynamic dims it was run at.")
    outputs: list[OutputReport]
    problems: list[str] = Field(description="What is wrong beside the numbers.")
    passed: bool
    first_divergence: str | None = Field(description="The first tensor that diverges.")


class AttemptReport(_Model):
    """One route that was tried, and how it ended."""

    route: list[str] = Field(description="Ids of the converters, in order.")
    result: Literal["delivered", "verified", "failed", "rejected"]
    reason: str = Field(description="Why it lost.")
    verdict: VerdictReport | None = None


class CandidateReport(_Model):
    """An artifact that was verified, compared with those of other routes."""

    route: list[str] = Field(description="Ids of the converters that made it.")
    bytes: int = Field(description="Size on disk.")
    latency_seconds: float | None = Field(
        description="Median of one run of the example on this machine, rounds of all candidates interleaved."
    )
    error_over_tolerance: float | None = Field(
        description="The largest error of any output over what it may be."
    )
    is_chosen: bool
    reason: str = Field(
        default="", description="Why it was chosen although another has a better figure."
    )


class RouteCostReport(_Model):
    """What a route was ranked by, compared field by field."""

    fidelity: int
    hops: int
    install_bytes: int
    seconds: float


class RouteReport(_Model):
    """A route that was planned."""

    route: list[str] = Field(description="Ids of the converters, in order.")
    formats: list[str] = Field(description="Formats it passes, the first is the source.")
    cost: RouteCostReport


class RejectedConverter(_Model):
    """A converter that no route could take."""

    converter: str
    reason: str


class GoalReport(_Model):
    """What became of one format that was asked for."""

    format: str
    plan: list[RouteReport] = Field(description="Routes in the order they would be tried.")
    attempts: list[AttemptReport] = Field(description="Routes that were tried, in order.")
    is_delivered: bool
    rejected_path: str | None = Field(description="Where an artifact that failed is kept.")
    earlier_path: str | None = Field(
        default=None,
        description="An artifact of an earlier run that still lies where this run delivered none; nothing here is about it.",
    )
    reproduction: str | None = Field(
        default=None,
        description="Folder with the smallest part of the model that fails, and a script for a bug report.",
    )
    candidates: list[CandidateReport] = Field(
        default_factory=list,
        description="What was compared to find the best, where that was asked for.",
    )
    error: ErrorReport | None = Field(description="Set when nothing was delivered.")


class StepReport(_Model):
    """One piece of work."""

    id: str
    kind: Literal["capture", "convert", "verify", "measure", "diagnose"]
    converter: str
    source: str
    target: str
    started_seconds: float = Field(description="Counted from the start of the run.")
    seconds: float = Field(description="Wall time.")
    peak_memory_bytes: int = Field(description="Of its process; 0 when it came from the cache.")
    is_cache_hit: bool
    versions: dict[str, str] = Field(description="Versions of the tools that did it.")
    warnings: list[str]
    details: dict[str, JsonValue] = Field(description="Facts from the converter.")
    error: ErrorReport | None


class ExecutionReport(_Model):
    """How the runtime carries out an artifact, as it says itself, at the example's sizes."""

    operators: int = Field(description="Operators of the main graph.")
    delegate: str = Field(description="What takes operators off the runtime's own kernels.")
    delegated_share: float = Field(description="Share of the operators that it takes.")
    partitions: int = Field(description="In how many parts it takes them.")
    undelegated: dict[str, int] = Field(
        description="How often each operator is left to the runtime."
    )
    border_transposes: int = Field(description="Transposes of an input, or to an output.")
    inner_transposes: int = Field(description="All other transposes.")


class ArtifactReport(_Model):
    """One artifact that was delivered."""

    format: str
    path: str = Field(description="Relative to the folder of the report.")
    bytes: int = Field(description="Size on disk.")
    sha256: str = Field(description="Of the file, or over all files of a folder and their names.")
    precision: str
    signature: SignatureReport
    metadata: dict[str, str] = Field(description="What is stored inside the file.")
    details: dict[str, JsonValue] = Field(
        description="Facts of the format, such as the ONNX opset."
    )
    execution: ExecutionReport | None = Field(
        default=None, description="null where the runtime does not tell."
    )
    route: list[str] = Field(description="The converters that made it.")
    verdict: VerdictReport | None


class PackageReport(_Model):
    """A package for a platform."""

    target: str
    path: str = Field(description="Relative to the folder of the report.")
    bytes: int = Field(description="Size on disk.")
    sha256: str


class Report(_Model):
    """Everything about one run of edgeconv."""

    model_config = ConfigDict(title="edgeconv report", validate_by_name=True)

    schema_id: Literal["edgeconv.report/1"] = Field(default=SCHEMA_ID, alias="schema")
    edgeconv: str = Field(description="Version of edgeconv.")
    created: str = Field(description="When the run ended, ISO 8601 in UTC.")
    command: list[str] = Field(description="The command line; empty when called from Python.")
    host: HostReport
    name: str = Field(description="The model's name.")
    source: SourceReport
    signature: SignatureReport | None = Field(description="null if capture failed.")
    best: Literal["latency", "size", "accuracy"] | None = Field(
        default=None, description="What decided between the artifacts of all routes, if anything."
    )
    goals: list[GoalReport] = Field(description="The formats asked for, in the order asked.")
    rejected_converters: list[RejectedConverter] = Field(
        description="Converters that no route could take, and why."
    )
    steps: list[StepReport] = Field(description="All steps by start time.")
    artifacts: list[ArtifactReport]
    packages: list[PackageReport] = Field(default_factory=list)
    versions: dict[str, str] = Field(description="Versions of all tools that took part.")
    warnings: list[str]
    seed: int = Field(description="What everything random was drawn from.")
    seconds: float = Field(description="Wall time of the run.")
    peak_memory_bytes: int = Field(description="Of the whole process tree.")
    exit_status: int
