"""The seam between deciding what to do (the executor) and where it is done (worker processes, or this one)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from edgeconv.errors import EdgeconvError, FailureKind, StepError
from edgeconv.execute.last_words import last_words
from edgeconv.plugin.job import Json

__all__ = ["HOST", "Entry", "Lane", "Reply", "Runner", "Task", "WorkerReplacedError", "failure"]

Entry: TypeAlias = "str | Mapping[str, str]"

HOST = ""
"""The environment id of the interpreter that edgeconv itself runs on."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Lane:
    """A queue of work that one process does, so that what it imported and captured serves the next step.

    Attributes:
        environment: Id of the environment; `HOST` for edgeconv's own interpreter.
        name: What kind of work, for example `torch`.
    """

    environment: str = HOST
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One call of an entry function.

    Attributes:
        title: Who does the work, as errors name it, in quotes.
        entry: `module:function`, or a mapping with `path` and `function` where the module cannot be imported.
        request: What the function is given.
        timeout_seconds: None for no limit.
        memory_limit_bytes: Limit of the process and all it started together; None for no limit.
        generation: The only process of the lane that will do, where it must hold what an earlier task left.
    """

    title: str
    entry: Entry
    request: Mapping[str, Json] = field(default_factory=dict)
    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a task. A failure is data here: its log and figures are wanted as much as a result's.

    Attributes:
        result: What the function returned; empty when it failed.
        error: The typed failure, or None.
        seconds: Wall time.
        peak_memory_bytes: Largest resident size of the process while the task ran; 0 if unknown.
        log: The end of what was printed.
        generation: Which process of the lane did it; counts up with every replacement.
    """

    result: Mapping[str, Json] = field(default_factory=dict)
    error: EdgeconvError | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    log: str = ""
    generation: int = 0

    def unwrap(self) -> Mapping[str, Json]:
        """The result.

        Raises:
            EdgeconvError: The task failed.
        """
        if self.error is not None:
            raise self.error
        return self.result


class WorkerReplacedError(Exception):
    """The process that a task asked for by generation is gone; nothing was run. Never reaches users."""


class Runner(Protocol):
    """Runs tasks; called from several threads."""

    def warm(self, lane: Lane, modules: Sequence[str]) -> None:
        """Make a lane ready while there is nothing else to do; failures do not matter."""
        ...

    def run(self, lane: Lane, task: Task) -> Reply:
        """Run one task and wait for it.

        Raises:
            WorkerReplacedError: The process asked for by generation is gone.
        """
        ...

    def retire(self, lane: Lane) -> None:
        """Free what a lane holds, unless it works; it starts anew where it is needed after all."""
        ...

    def close(self) -> None:
        """End everything at once; tasks that run come back as failed."""
        ...


def failure(
    kind: FailureKind, message: str, *, why: str, hint: str = "", log: str = ""
) -> StepError:
    """A step failure whose details are the last lines of the log, without the stack dumps in it."""
    return StepError(message, kind=kind, why=why, hint=hint, details=last_words(log))
