"""Shares the cores between what computes and what runs beside it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import torch

__all__ = ["spare_core"]


@contextmanager
def spare_core(background: Executor) -> Iterator[None]:
    """Leave a core to the calling thread while the only thread of `background` computes.

    PyTorch's threads wait for each other by spinning: with more of them than free cores, a convolution that is a
    thousand small products (a depthwise one in float64) takes ten times as long. The number holds for the thread that
    sets it, and for threads that are new meanwhile.
    """
    before = torch.get_num_threads()
    background.submit(torch.set_num_threads, max(1, before - 1)).result()
    try:
        yield
    finally:
        background.submit(torch.set_num_threads, before).result()
