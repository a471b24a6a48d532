"""Runs a lane's tasks in the calling process, for embedding programs whose model is already in memory here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import cast

from edgeconv.errors import EdgeconvError, FailureKind, InternalError
from edgeconv.execute.runner import Lane, Reply, Runner, Task, failure
from edgeconv.plugin.job import Json

__all__ = ["InProcessLane", "LaneRouter"]

EntryFunction = Callable[[Mapping[str, Json], MutableMapping[str, object]], Mapping[str, Json]]


class InProcessLane:
    """A `Runner` without a process: no crash is survived, no limit enforced; what fails comes back typed all the same.

    Args:
        context: Lasts as long as this object; what capture left there serves later steps.
        around: Entered for every task, for what the embedding program must not notice.
    """

    def __init__(
        self,
        context: MutableMapping[str, object] | None = None,
        *,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.context: MutableMapping[str, object] = {} if context is None else context
        self._around = around
        self._busy = threading.Lock()
        self._is_closed = False

    def warm(self, lane: Lane, modules: Sequence[str]) -> None:
        """Nothing: whoever uses this lane has imported what it needs."""

    def run(self, lane: Lane, task: Task) -> Reply:  # noqa: ARG002 - the protocol's
        """Call the entry function here, one task at a time."""
        with self._busy, self._around():
            started = time.perf_counter()
            try:
                result = self._call(task)
            except EdgeconvError as error:
                return Reply(error=error, seconds=time.perf_counter() - started)
            return Reply(result=result, seconds=time.perf_counter() - started)

    def retire(self, lane: Lane) -> None:
        """Nothing: what is held here belongs to the embedding program."""

    def close(self) -> None:
        """Start nothing more; what runs ends by itself."""
        self._is_closed = True

    def _call(self, task: Task) -> Mapping[str, Json]:
        if self._is_closed:
            raise InternalError(f"{task.title} was not started", why="the run is ending")
        if not isinstance(task.entry, str):
            raise InternalError(f"{task.title} cannot run in this process", why="it has its own")
        module, _, function = task.entry.partition(":")
        try:
            entry = cast("EntryFunction", getattr(import_module(module), function))
            return entry(task.request, self.context)
        except EdgeconvError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise failure(_failure_kind(error), f"{task.title} failed", why=why) from error


def _failure_kind(error: Exception) -> FailureKind:
    if isinstance(error, MemoryError):
        return FailureKind.OUT_OF_MEMORY
    return FailureKind.MISSING_TOOL if isinstance(error, ImportError) else FailureKind.INTERNAL


class LaneRouter:
    """A `Runner` that sends some lanes to runners of their own, and all others to one.

    Args:
        lanes: Runners by lane name.
        otherwise: The runner of all other lanes.
    """

    def __init__(self, lanes: Mapping[str, Runner], otherwise: Runner) -> None:
        self._lanes = dict(lanes)
        self._otherwise = otherwise

    def _runner(self, lane: Lane) -> Runner:
        return self._lanes.get(lane.name, self._otherwise)

    def warm(self, lane: Lane, modules: Sequence[str]) -> None:
        """Warm the lane where it runs."""
        self._runner(lane).warm(lane, modules)

    def run(self, lane: Lane, task: Task) -> Reply:
        """Run the task where its lane runs."""
        return self._runner(lane).run(lane, task)

    def retire(self, lane: Lane) -> None:
        """Retire the lane where it runs."""
        self._runner(lane).retire(lane)

    def close(self) -> None:
        """Close all."""
        for runner in (*self._lanes.values(), self._otherwise):
            runner.close()
