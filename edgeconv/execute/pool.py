"""Worker processes by lane: started when first needed, kept for the next task, replaced when they died."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeconv.errors import EdgeconvError, FailureKind, MissingDependencyError
from edgeconv.execute.runner import HOST, Lane, Reply, Task, WorkerReplacedError, failure
from edgeconv.execute.worker import WorkerProcess
from edgeconv.execute.workspace import Workspace

__all__ = ["WorkerPool"]

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Slot:
    """One lane's process, if it has one."""

    busy: threading.Lock = field(default_factory=threading.Lock)
    worker: WorkerProcess | None = None
    generation: int = 0


class WorkerPool:
    """A `Runner` whose lanes are processes; a context manager that ends them all.

    Args:
        environment: All environment variables that workers see.
        interpreters: Interpreters by environment id; the host's own is known.
        scratch: Holds a folder for what workers call temporary files, some of which they leave when they are ended; theirs
            is the system's unless given.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        interpreters: Mapping[str, Path] | None = None,
        scratch: Path | None = None,
    ) -> None:
        self._scratch = scratch
        self._temporary: Workspace | None = None
        self._environment = dict(environment)
        self._interpreters = {HOST: Path(sys.executable), **(interpreters or {})}
        self._slots: dict[Lane, _Slot] = {}
        self._guard = threading.Lock()
        self._is_closed = False
        # The kernel ends a worker with the *thread* that started it: all are started by one that lasts.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="worker-starter")

    @property
    def started(self) -> int:
        """How many processes were started so far."""
        with self._guard:
            return sum(slot.generation for slot in self._slots.values())

    def warm(self, lane: Lane, modules: Sequence[str]) -> None:
        """Start the lane's process, unless it works already, and have it import modules while it waits."""
        slot = self._slot(lane)
        if not slot.busy.acquire(blocking=False):
            return
        try:
            if not self._is_closed:
                self._ready(lane, slot).warm(list(modules))
        except EdgeconvError:
            _logger.debug("lane '%s' could not be warmed", lane.name, exc_info=True)
        finally:
            slot.busy.release()

    def run(self, lane: Lane, task: Task) -> Reply:
        """Run one task in the lane's process and wait for it; tasks of one lane run one after the other.

        Raises:
            WorkerReplacedError: The process asked for by generation is gone.
        """
        slot = self._slot(lane)
        with slot.busy:
            if self._is_closed:
                return Reply(error=_ended(task))
            _check_generation(slot, task)
            reply = self._run(lane, slot, task)
        return Reply(error=_ended(task)) if self._is_closed and reply.error else reply

    def retire(self, lane: Lane) -> None:
        """End the lane's process, unless it works; the next task gets a new one."""
        slot = self._slot(lane)
        if not slot.busy.acquire(blocking=False):
            return
        try:
            if slot.worker:
                slot.worker.dispose()
                slot.worker = None
        finally:
            slot.busy.release()

    def close(self) -> None:
        """End all processes and what they started; tasks that run come back as failed."""
        with self._guard:
            self._is_closed = True
            slots = list(self._slots.values())
        for worker in [slot.worker for slot in slots if slot.worker]:
            worker.send_end()
        for slot in slots:
            with slot.busy:  # whoever was running a task has seen its worker die
                if slot.worker:
                    slot.worker.dispose()
                    slot.worker = None
        self._starter.shutdown()
        with self._guard:
            temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _slot(self, lane: Lane) -> _Slot:
        with self._guard:
            return self._slots.setdefault(lane, _Slot())

    def _run(self, lane: Lane, slot: _Slot, task: Task) -> Reply:
        try:
            reply = self._ready(lane, slot).run(task)
        except EdgeconvError as error:
            return Reply(error=error)
        if reply.error and reply.log:
            _logger.debug("%s printed:\n%s", task.title, reply.log.rstrip())
        return reply

    def _ready(self, lane: Lane, slot: _Slot) -> WorkerProcess:
        """The lane's living process, started now if there is none."""
        if slot.worker and slot.worker.is_alive:
            return slot.worker
        if slot.worker:
            slot.worker.dispose()
        slot.generation += 1
        slot.worker = self._starter.submit(self._start, lane, slot.generation).result()
        if self._is_closed:  # closed while it started: nobody else knows of it
            slot.worker.kill()
        return slot.worker

    def _start(self, lane: Lane, generation: int) -> WorkerProcess:
        python = self._interpreters.get(lane.environment)
        if python is None:
            raise MissingDependencyError(
                f"environment '{lane.environment}' does not exist",
                hint=f"create it: edgeconv environments create {lane.environment}",
            )
        try:
            environment = {**self._environment, **self._temporary_folder()}
            return WorkerProcess(python, environment=environment, generation=generation)
        except OSError as error:
            raise failure(
                FailureKind.CRASHED, f"a worker for '{lane.name}' did not start", why=str(error)
            ) from error

    def _temporary_folder(self) -> dict[str, str]:
        """Where workers keep temporary files, made with the first of them; called by the starting thread alone."""
        if self._scratch is None:
            return {}
        if self._temporary is None:
            self._temporary = Workspace(self._scratch).__enter__()
        return {"TMPDIR": str(self._temporary.path)}


def _check_generation(slot: _Slot, task: Task) -> None:
    if task.generation is None:
        return
    if slot.generation != task.generation or not (slot.worker and slot.worker.is_alive):
        raise WorkerReplacedError(task.title)


def _ended(task: Task) -> EdgeconvError:
    return failure(FailureKind.CRASHED, f"{task.title} was stopped", why="the run is ending")
