"""Starts the process that captures models before the command line is even read: PyTorch's import is what takes longest.

It is a guess, and a wrong one costs a process that is ended again: the model is one of PyTorch's by the looks of it, and
was not converted into this folder before, in which case most of the work is in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeconv.execute.pool import WorkerPool

__all__ = ["started_ahead", "workers_ahead"]

_LANE = "torch"
_MODULES = ("torch", "edgeconv_converters.torch_export.worker")
_SUFFIXES = (".pt", ".pt2", ".pth")
_WORKERS: ContextVar[WorkerPool | None] = ContextVar("edgeconv_workers_ahead", default=None)


@contextmanager
def workers_ahead(arguments: Sequence[str]) -> Iterator[None]:
    """Inside, the workers that a command will need start already; what nobody took is ended.

    Args:
        arguments: The command line, as the user wrote it.
    """
    workers = _start() if _is_new_conversion(arguments) else None
    token = _WORKERS.set(workers)
    try:
        yield
    finally:
        _WORKERS.reset(token)
        if workers is not None:
            workers.close()


def started_ahead() -> WorkerPool | None:
    """The workers that were started for this command line, if any were."""
    return _WORKERS.get()


def _start() -> WorkerPool | None:
    from edgeconv.errors import EdgeconvError
    from edgeconv.execute.pool import WorkerPool
    from edgeconv.execute.runner import Lane
    from edgeconv.settings import load_settings

    try:
        settings = load_settings()
    except EdgeconvError:
        return None  # the command itself will meet it, and say so
    workers = WorkerPool(settings.worker_environment, scratch=settings.scratch_dir)
    workers.warm(Lane(name=_LANE), _MODULES)
    return workers


def _is_new_conversion(arguments: Sequence[str]) -> bool:
    if arguments[:1] != ["convert"] or not {"-h", "--help"}.isdisjoint(arguments):
        return False
    folder = _value_of(arguments, "-o", "--output")
    return (
        folder is not None
        and not Path(folder, "report.json").exists()
        and any(_looks_like_torch(word) for word in arguments[1:])
    )


def _looks_like_torch(word: str) -> bool:
    return not word.startswith("-") and (":" in word or word.endswith(_SUFFIXES))


def _value_of(arguments: Sequence[str], short: str, long: str) -> str | None:
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word in (short, long):
            return following
        if word.startswith(f"{long}="):
            return word.partition("=")[2]
    return None
