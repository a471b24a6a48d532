"""Shares the cores between what computes and what runs beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

import torch

__all__ = ["alone_if_grouped", "spare_core"]


@contextmanager
def spare_core(background: Executor) -> Iterator[None]:
    """Leave a core to the calling thread while the only thread of `background` computes.

    The number of threads holds for the thread that sets it, and for threads that are new meanwhile.
    """
    before = torch.get_num_threads()
    background.submit(torch.set_num_threads, max(1, before - 1)).result()
    try:
        yield
    finally:
        background.submit(torch.set_num_threads, before).result()


@contextmanager
def alone_if_grouped(
    operator: object, args: Sequence[object], kwargs: Mapping[str, object]
) -> Iterator[None]:
    """Keep to one thread for a convolution with groups in float64.

    It is a thousand small products, one for each group, and threads that meet after each of them take eight times as long as
    one thread alone (MobileNetV2 in float64 on two cores: 0.5 s, and 0.06 s).

    Args:
        operator: What is called.
        args: Its arguments.
        kwargs: Its arguments by name.
    """
    before = torch.get_num_threads()
    if before == 1 or not _has_groups(operator, args, kwargs):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _has_groups(operator: object, args: Sequence[object], kwargs: Mapping[str, object]) -> bool:
    if not isinstance(operator, torch._ops.OpOverload):  # noqa: SLF001 - PyTorch's class is underscored
        return False
    names = [argument.name for argument in operator._schema.arguments]  # noqa: SLF001 - likewise
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return "weight" in given and given.get("groups", 1) != 1
