"""Runs PyTorch inside of somebody else's program, which is not to notice."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edgeconv.execute.worker_main import GARBAGE_THRESHOLDS

__all__ = ["unnoticed"]

# PyTorch's export and its random numbers belong to the whole process.
_TURN = threading.RLock()


@contextmanager
def unnoticed() -> Iterator[None]:
    """Inside, PyTorch may be run: the program's random numbers, warnings, modes and garbage collection stay as they are.

    One thread at a time.
    """
    import torch

    with (
        _TURN,
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(mode=False),
        warnings.catch_warnings(),
        _rare_garbage(),
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
