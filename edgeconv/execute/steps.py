"""Does single steps: from the cache where it has them, in a worker otherwise; keeps the records."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from edgeconv.errors import (
    EdgeconvError,
    FailureKind,
    StepError,
    UnsupportedOperatorsError,
    error_from_json,
)
from edgeconv.execute.gate import Gate
from edgeconv.execute.records import Listener, Step, StepRecord
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Reply, Runner, Task, failure
from edgeconv.execute.work import Done, Material, Work, call_of
from edgeconv.execute.workspace import Workspace
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.store import Cached, CodeDigests, Store, action_key, module_versions
from edgeconv.validation.verdict import Verdict

__all__ = ["Aside", "Send", "Steps", "StoppedError"]

_logger = logging.getLogger(__name__)

Send = Callable[[Work, Job], Reply]
"""Has a worker do some work."""


class StoppedError(Exception):
    """The run is ending: nothing more is started. Never reaches users."""


@dataclass(slots=True, kw_only=True)
class Aside:
    """What there is to tell of a step that is done elsewhere: what a worker answered, and facts for the record."""

    reply: Reply = field(default_factory=Reply)
    details: Mapping[str, Json] = field(default_factory=dict)


class Steps:
    """Does steps for one run; used by several threads.

    Args:
        request: The run.
        runner: Where steps run.
        store: Results of earlier runs.
        listener: Hears of every step.
        workspace: Where steps write.
        gate: Which step goes next.
    """

    def __init__(
        self,
        request: ConversionRequest,
        *,
        runner: Runner,
        store: Store,
        listener: Listener,
        workspace: Workspace,
        gate: Gate,
    ) -> None:
        self.request = request
        self.runner = runner
        self.gate = gate
        self._store = store
        self._listener = listener
        self._workspace = workspace
        self._started = time.monotonic()
        self._guard = threading.Lock()
        self._records: list[StepRecord] = []
        self._stopping = threading.Event()
        self._code = CodeDigests(store.digests)

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """All steps that ended, by start time."""
        with self._guard:
            return tuple(sorted(self._records, key=lambda record: record.started_seconds))

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """Start nothing more, and end what runs."""
        self._stopping.set()
        self.gate.give_up()
        self.runner.close()

    def check_going_on(self) -> None:
        """Raise `StoppedError` if the run is ending."""
        if self._stopping.is_set():
            raise StoppedError

    def do(self, work: Work, send: Send | None = None, *, on_miss: Callable[[], None]) -> Done:
        """Do one step.

        Args:
            work: The step.
            send: How it reaches a worker; `send` of this object unless given.
            on_miss: Called before anything is computed.

        Raises:
            EdgeconvError: It failed; the record is kept.
        """
        self.check_going_on()
        key = self._key(work) if self.request.use_cache else ""
        cached = self._store.find(key) if key else None
        if cached is not None:
            done = self._recall(work, cached)
            if done is not None:
                return done
        on_miss()
        with self.gate.turn(work.lane, work.priority):
            self.check_going_on()
            return self.compute(work, send or self.send, key)

    def compute(self, work: Work, send: Send, key: str = "") -> Done:
        """Do one step in a worker, keep its result under `key` unless that is empty."""
        self._listener.step_started(work.step)
        started, clock = self.seconds, time.monotonic()
        job = work.job(self._workspace.folder(work.step.converter))
        done: Done | None = None
        reply = Reply()
        try:
            reply = send(work, job)
            done = self._take(work, job, reply)
            error = None
        except EdgeconvError as failed:
            self.check_going_on()  # ended by us: that says nothing about the step
            error = failed
        self._record(
            StepRecord(
                step=work.step,
                started_seconds=started,
                seconds=time.monotonic() - clock,
                peak_memory_bytes=reply.peak_memory_bytes,
                versions=done.result.versions if done else {},
                warnings=done.result.warnings if done else (),
                details=done.result.details if done else {},
                error=error,
                log=reply.log or None,
            ),
            done,
        )
        if key:
            self._keep(key, work, done, error)
        if done is None:
            raise cast("EdgeconvError", error)
        return done

    @contextmanager
    def recorded(self, step: Step) -> Iterator[Aside]:
        """Keep the record of a step that is done inside the block; an error ends the block, and is in the record alone.

        Args:
            step: What is done.
        """
        self._listener.step_started(step)
        started, clock = self.seconds, time.monotonic()
        aside, error = Aside(), None
        try:
            yield aside
        except EdgeconvError as failed:
            self.check_going_on()  # ended by us: that says nothing about the step
            error = failed
        self._record(
            StepRecord(
                step=step,
                started_seconds=started,
                seconds=time.monotonic() - clock,
                peak_memory_bytes=aside.reply.peak_memory_bytes,
                details=aside.details,
                error=error,
                log=aside.reply.log or None,
            ),
            None,
        )

    def send(self, work: Work, job: Job) -> Reply:
        """Have the lane's worker do it."""
        return self.runner.run(work.lane, self.task(work, job))

    def task(self, work: Work, job: Job, generation: int | None = None) -> Task:
        """The call of a work's entry."""
        return Task(
            title=work.title,
            entry=call_of(work),
            request=job.to_json(),
            timeout_seconds=self.request.timeout_seconds,
            memory_limit_bytes=self.request.memory_limit_bytes,
            generation=generation,
        )

    def digest(self, path: Path, *, is_ours: bool = True) -> str:
        """SHA-256 of what a step wrote, or of a file of the user's.

        Raises:
            OSError: It cannot be read.
        """
        return self._store.digests.digest(path, is_ours=is_ours)

    def new_folder(self, title: str) -> Path:
        """A folder to write in, which lasts as long as the run.

        Raises:
            OutputError: It cannot be created.
        """
        return self._workspace.folder(title)

    def _key(self, work: Work) -> str:
        code: list[Json] = [self._code.digest(work.entry)]
        code += [self._code.digest(item.value) for item in work.extensions]
        versions = module_versions(work.requires)
        return action_key({**work.facts(), "code_digest": code, "versions": versions})

    def _take(self, work: Work, job: Job, reply: Reply) -> Done:
        """What a reply amounts to; a tool that claims success without a result has failed."""
        result = read_result(work, reply.unwrap())
        if work.step.kind == "verify":
            verdict = read_verdict(work, result)
            return Done(result=result, verdict=verdict, generation=reply.generation)
        if not result.output.exists() or job.output.parent not in result.output.parents:
            why = f"it reported success, but left no output at '{result.output.name}'"
            raise failure(FailureKind.INTERNAL, f"{work.title} failed", why=why, log=reply.log)
        try:
            digest = self.digest(result.output)
        except OSError as error:
            why = f"its output cannot be read: {error}"
            raise failure(FailureKind.INTERNAL, f"{work.title} failed", why=why) from error
        material = Material(path=result.output, digest=digest)
        return Done(
            result=result,
            material=material,
            generation=reply.generation,
            peak_memory_bytes=reply.peak_memory_bytes,
        )

    def _keep(self, key: str, work: Work, done: Done | None, error: EdgeconvError | None) -> None:
        label = f"{work.name}: {work.step.id}"
        if done is None:
            # Operators that are not supported stay so; a crash or a timeout may not happen again.
            if isinstance(error, UnsupportedOperatorsError):
                failed = cast("Json", error.to_json())
                self._store.save(key, Cached(result={"error": failed}, label=label))
            return
        cached = Cached(
            result=done.result.to_json(),
            digest=done.material.digest if done.material else None,
            label=label,
            dependencies=_dependencies(done.result.details),
            distributions=cast("dict[str, str]", done.result.details.get("distributions") or {}),
        )
        self._store.save(key, cached, done.material.path if done.material else None)

    def _recall(self, work: Work, cached: Cached) -> Done | None:
        """The step as the cache has it; None if its files are not to be had."""
        failed = cached.result.get("error")
        error = error_from_json(failed) if isinstance(failed, dict) else None
        done = None if error else self._restore(work, cached)
        if done is None and error is None:
            return None
        self._listener.step_started(work.step)
        self._record(
            StepRecord(
                step=work.step,
                started_seconds=self.seconds,
                seconds=0.0,
                is_cache_hit=True,
                versions=done.result.versions if done else {},
                warnings=done.result.warnings if done else (),
                details=done.result.details if done else {},
                error=error,
            ),
            done,
        )
        if error:
            raise error
        return done

    def _restore(self, work: Work, cached: Cached) -> Done | None:
        try:
            result = read_result(work, cached.result)
            if work.step.kind == "verify":
                return Done(result=result, verdict=read_verdict(work, result))
        except StepError:
            _logger.warning("a cache entry of %s is not understood", work.title)
            return None
        if cached.digest is None:
            return None
        path = self._workspace.folder(work.step.converter) / result.output.name
        if not self._store.fetch(cached.digest, path):
            return None
        return Done(result=result, material=Material(path=path, digest=cached.digest))

    def _record(self, record: StepRecord, done: Done | None) -> None:
        with self._guard:
            self._records.append(record)
        self._listener.step_ended(record, done.verdict if done else None)


def read_result(work: Work, data: Mapping[str, Json]) -> JobResult:
    """The result of a job; a verification need not name an output.

    Raises:
        StepError: It is none.
    """
    needed = {"output": ""} if work.step.kind == "verify" else {}
    try:
        return JobResult.from_json({**needed, **data})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"'{work.entry}' returned no JobResult: {type(error).__name__}: {error}"
        raise failure(FailureKind.INTERNAL, f"{work.title} failed", why=why) from error


def read_verdict(work: Work, result: JobResult) -> Verdict:
    """The verdict of a verification.

    Raises:
        StepError: There is none.
    """
    try:
        return Verdict.from_json(cast("dict[str, Json]", result.details["verdict"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"'{work.entry}' returned no Verdict: {type(error).__name__}: {error}"
        raise failure(FailureKind.INTERNAL, f"{work.title} failed", why=why) from error


def _dependencies(details: Mapping[str, Json]) -> dict[str, str]:
    items = cast("list[dict[str, str]]", details.get("dependencies") or [])
    return {item["path"]: item["sha256"] for item in items}
