"""Runs PyTorch inside of somebody else's program, which is not to notice."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unnoticed"]

# PyTorch's export and its random numbers belong to the whole process.
_TURN = threading.RLock()


@contextmanager
def unnoticed() -> Iterator[None]:
    """Inside, PyTorch may be run: the program's random numbers, warnings and modes stay as they are.

    One thread at a time.
    """
    import torch

    with (
        _TURN,
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(mode=False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
