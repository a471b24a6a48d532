"""Runs PyTorch inside of somebody else's program, which is not to notice."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO, cast

from edgeconv.execute.worker_main import GARBAGE_THRESHOLDS

__all__ = ["unnoticed"]

# PyTorch's export and its random numbers belong to the whole process.
_TURN = threading.RLock()
_IDLE_LOAD = 0.5


@contextmanager
def unnoticed() -> Iterator[None]:
    """Inside, PyTorch may be run: the program's random numbers, warnings, modes, threads and garbage collection stay as they are.

    On a busy machine PyTorch computes with one thread fewer than it would. What this thread prints meanwhile is dropped. One thread at a time.
    """
    import torch

    with (
        _TURN,
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(mode=False),
        warnings.catch_warnings(),
        _rare_garbage(),
        _spare_core(),
        redirect_stdout(cast("TextIO", _MutedHere(sys.stdout))),
        redirect_stderr(cast("TextIO", _MutedHere(sys.stderr))),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _rare_garbage() -> Iterator[None]:
    """Look for garbage as rarely as workers do: an export makes a million objects, none of them garbage."""
    before = gc.get_threshold()
    if gc.isenabled():
        gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _spare_core() -> Iterator[None]:
    """On a busy machine, leave one core to everything else that runs, for the thread that asks.

    OpenMP's threads wait for each other by spinning, and what they wait for is a thread that some other process keeps
    from its core. Workers are told not to (`OMP_WAIT_POLICY`), but OpenMP reads that once, when the program starts.
    """
    import torch

    before = torch.get_num_threads()
    if _is_busy():
        torch.set_num_threads(max(1, before - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_busy() -> bool:
    """Whether as many threads as there are cores wanted to run in the last minute, this program's own among them."""
    return os.getloadavg()[0] > len(os.sched_getaffinity(0)) - _IDLE_LOAD


class _MutedHere:
    """A stream that takes what other threads print, and drops what this one does: exporters print their progress.

    Args:
        stream: Where the others print.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        """Print, unless this thread does."""
        if threading.get_ident() == self._thread:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
