"""A place to run conversions of plain text in: own folders, own settings, real worker processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeconv.execute.executor import convert
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.records import GoalOutcome, Outcome, Step, StepRecord
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.verification import Verifier
from edgeconv.plugin import ConverterSpec
from edgeconv.plugin.registry import Registry
from edgeconv.settings import Settings, load_settings
from edgeconv.store import Store
from edgeconv.testing.plain import PLAIN_SPECS, PLAIN_VERIFIERS
from edgeconv.validation.verdict import Verdict


@dataclass
class Ears:
    started: list[str] = field(default_factory=list)
    ended: list[tuple[StepRecord, Verdict | None]] = field(default_factory=list)

    def step_started(self, step: Step) -> None:
        self.started.append(step.id)

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        self.ended.append((record, verdict))


class Desk:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = root / "model.txt"
        self.model.write_text("hello\nweights")
        self.out = root / "out"
        self.ears = Ears()
        self.workers_started = 0
        variables = {**os.environ, "EDGECONV_CACHE_DIR": str(root / "cache")}
        self.settings: Settings = load_settings(variables)
        self.store = Store(self.settings.store_dir)

    def request(self, *goals: str, **changes: object) -> ConversionRequest:
        request = ConversionRequest(
            name="m",
            source="model.txt",
            goals=goals,
            out=self.out,
            capture_options={"file": str(self.model)},
        )
        return replace(request, **changes)  # type: ignore[arg-type]

    def convert(
        self,
        *goals: str,
        specs: Sequence[ConverterSpec] = PLAIN_SPECS,
        verifiers: Mapping[str, Verifier] = PLAIN_VERIFIERS,
        **changes: object,
    ) -> Outcome:
        return self.run(self.request(*goals, **changes), specs, verifiers)

    def run(
        self,
        request: ConversionRequest,
        specs: Sequence[ConverterSpec] = PLAIN_SPECS,
        verifiers: Mapping[str, Verifier] = PLAIN_VERIFIERS,
        ears: Ears | None = None,
    ) -> Outcome:
        self.ears = ears or Ears()
        with WorkerPool(self.settings.worker_environment) as pool:
            try:
                return convert(
                    request,
                    registry=Registry(specs),
                    runner=pool,
                    store=self.store,
                    listener=self.ears,
                    scratch=self.settings.scratch_dir,
                    verifiers=verifiers,
                )
            finally:
                self.workers_started = pool.started

    def files(self) -> list[str]:
        if not self.out.exists():
            return []
        found = (p.relative_to(self.out).as_posix() for p in self.out.rglob("*") if p.is_file())
        return sorted(found)

    def leftovers(self) -> list[Path]:
        return list(self.settings.scratch_dir.glob("*"))


def goal(outcome: Outcome, format_id: str) -> GoalOutcome:
    return next(item for item in outcome.goals if item.format == format_id)


def ids(outcome: Outcome) -> list[str]:
    return [record.step.id for record in outcome.steps]


def hits(outcome: Outcome) -> list[bool]:
    return [record.is_cache_hit for record in outcome.steps]


def with_entry(changed: Mapping[str, str]) -> tuple[ConverterSpec, ...]:
    """The plain converters, some with an entry of `edgeconv.testing`."""
    return tuple(
        replace(spec, entry=f"edgeconv.testing.{changed[spec.id]}") if spec.id in changed else spec
        for spec in PLAIN_SPECS
    )


def without(*removed: str) -> tuple[ConverterSpec, ...]:
    return tuple(spec for spec in PLAIN_SPECS if spec.id not in removed)
