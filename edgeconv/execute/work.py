"""One step as the executor sees it: what is called with what, where it runs, and what its result depends on."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import MissingDependencyError
from edgeconv.execute.records import Step
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import HOST, Entry, Lane
from edgeconv.execute.verification import Verifier
from edgeconv.formats import find_format
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.extension import Extension
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.signature import Signature
from edgeconv.validation.verdict import Verdict

__all__ = ["Done", "Material", "Work", "conversion", "lane_of", "verification"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A file or folder that steps read, and the digest that stands for it in cache keys."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One step to be done.

    Attributes:
        step: How it is called in the records.
        entry: `module:function`.
        lane: Where it runs.
        seconds: How long it takes, roughly.
        output_name: Name of the file or folder it writes; empty if it writes none.
        code: What identifies the code beside the entry: version, environment.
        requires: Import names whose versions its result depends on.
        inputs: Files by role.
        options: Options of the step.
        signature: Of the model; None before capture.
        metadata: What to store inside the result.
        extensions: What plug-ins add to it; named in its options, and their code counts as its own.
        depends_on: Further facts its result depends on.
        name: The model's name.
        seed: For anything random.
    """

    step: Step
    entry: str
    lane: Lane
    seconds: float
    name: str
    seed: int
    output_name: str = ""
    code: Mapping[str, Json] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    inputs: Mapping[str, Material] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    signature: Signature | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[Extension, ...] = ()
    depends_on: Mapping[str, Json] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How errors call it."""
        if self.step.kind == "verify":
            return f"verification of '{self.step.source}'"
        if self.step.kind == "capture":
            return "the capture of the model"
        return f"'{self.step.converter}'"

    @property
    def priority(self) -> tuple[bool, float]:
        """What goes first: conversions, since others wait for what they make, and short ones before long ones."""
        return self.step.kind == "verify", self.seconds

    def job(self, folder: Path) -> Job:
        """What the worker is given; it writes into `folder`."""
        added: list[Json] = [item.to_json() for item in self.extensions]
        return Job(
            name=self.name,
            inputs={role: material.path for role, material in self.inputs.items()},
            output=folder / (self.output_name or "result"),
            signature=self.signature,
            metadata=self.metadata,
            options={**self.options, **({"extensions": added} if added else {})},
            seed=self.seed,
        )

    def facts(self) -> dict[str, Json]:
        """All that its result depends on, but the code behind the entry: the content of files, not their paths."""
        job = self.job(Path()).to_json()
        job["inputs"] = {role: material.digest for role, material in self.inputs.items()}
        return {
            "kind": self.step.kind,
            "converter": self.step.converter,
            "entry": self.entry,
            "code": dict(self.code),
            "job": job,
            "more": dict(self.depends_on),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step that succeeded; `material` is what it wrote, None for a verification."""

    result: JobResult
    material: Material | None = None
    verdict: Verdict | None = None
    generation: int | None = None
    peak_memory_bytes: int = 0


def lane_of(spec: ConverterSpec) -> Lane:
    """The lane a converter's steps run in."""
    return Lane(environment=spec.environment.id if spec.environment else HOST, name=spec.lane)


def call_of(work: Work) -> Entry:
    """How a worker finds the entry: by name, or by path in an environment that has no edgeconv.

    Raises:
        MissingDependencyError: The module is not there.
    """
    if work.lane.environment == HOST:
        return work.entry
    module, _, function = work.entry.partition(":")
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise MissingDependencyError(f"{work.title} cannot run", why=f"'{module}' is not installed")
    return {"path": found.origin, "function": function}


def conversion(spec: ConverterSpec, route: tuple[str, ...], request: ConversionRequest) -> Work:
    """The work of a converter at the end of `route`, still without inputs."""
    step = Step(
        id="/".join(route),
        kind="convert",
        converter=spec.id,
        source=spec.source,
        target=spec.target,
    )
    environment: list[Json] = []
    if spec.environment:
        environment = [spec.environment.id, spec.environment.python, *spec.environment.requirements]
    return Work(
        step=step,
        entry=spec.entry,
        lane=lane_of(spec),
        seconds=spec.cost.seconds,
        name=request.name,
        seed=request.seed,
        output_name=f"{request.name}{find_format(spec.target).suffix}",
        code={"version": spec.version, "environment": environment},
        requires=spec.requires,
        extensions=request.extensions.get(spec.extensions, ()),
        options=request.converter_options.get(spec.id, {}),
    )


def verification(
    format_id: str, verifier: Verifier, route: tuple[str, ...], request: ConversionRequest
) -> Work:
    """The work of verifying what `route` made, still without inputs."""
    step = Step(
        id="/".join((*route, "verify")),
        kind="verify",
        converter="verify",
        source=format_id,
        target=format_id,
    )
    return Work(
        step=step,
        entry=verifier.entry,
        lane=Lane(name=verifier.lane),
        seconds=verifier.seconds,
        name=request.name,
        seed=request.seed,
        requires=verifier.requires,
        options={"format": format_id, "precision": "float32", **request.verify_options},
    )
