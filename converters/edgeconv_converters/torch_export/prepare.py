"""Readies a module for capture without changing what the user holds, and checks its weights."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgeconv.errors import InvalidInputError

__all__ = ["check_weights", "count_parameters", "digest_weights", "keep_buffers", "ready_module"]

_MAX_NAMED = 20
_WEIGHT_INTEGERS = frozenset((torch.int8, torch.uint8))


def ready_module(module: nn.Module, *, is_owned: bool) -> nn.Module:
    """The module in eval mode and on the CPU.

    Args:
        module: The user's.
        is_owned: Whether nobody else holds it, so that it may be changed; otherwise it is copied, sharing its
            parameters, so that nothing that happens to it while it runs is seen by whoever holds it.

    Raises:
        InvalidInputError: It cannot be put into eval mode, or would have to be copied and cannot be.
    """
    shared = {id(p): p for p in module.parameters()} if _is_on_cpu(module) else {}
    try:
        return (module if is_owned else copy.deepcopy(module, shared)).cpu().eval()
    except Exception as error:  # modules may hold anything, and override anything
        is_ready = not any(child.training for child in module.modules()) and _is_on_cpu(module)
        if is_ready:
            return module
        raise InvalidInputError(
            "the module cannot be put into eval mode"
            + ("" if is_owned else " without changing it"),
            why=f"{type(error).__name__}: {str(error).strip()}",
            hint="call .eval() and .cpu() on the module yourself before capturing it",
        ) from error


def _is_on_cpu(module: nn.Module) -> bool:
    return all(t.device.type == "cpu" for t in (*module.parameters(), *module.buffers()))


@contextlib.contextmanager
def keep_buffers(module: nn.Module) -> Iterator[None]:
    """Give every buffer back the value it had, for models that count or remember as they run."""
    before = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    versions = [buffer._version for buffer, _ in before]  # noqa: SLF001  the only trace of a change
    try:
        yield
    finally:
        with torch.no_grad():
            for (buffer, value), version in zip(before, versions, strict=True):
                if buffer._version != version:  # noqa: SLF001
                    buffer.copy_(value)


def check_weights(module: nn.Module) -> None:
    """Refuse weights that are no numbers.

    Infinite buffers are let through: attention masks are made of them.

    Raises:
        InvalidInputError: Some parameter has NaN or infinity or no values at all, or some buffer NaN; all are
            named.
    """
    absent = [name for name, tensor in _all_tensors(module) if tensor.is_meta]
    if absent:
        raise InvalidInputError(
            f"{_count(len(absent))} no values",
            why="the module was built on the meta device",
            hint="load the weights in the factory, or build it on the CPU",
            details=_shown(absent),
        )
    bad = [
        f"{name}: {int((~parameter.isfinite()).sum())} of {parameter.numel()}"
        for name, parameter in module.named_parameters()
        if not _is_finite(parameter)
    ]
    bad += [
        f"{name}: {int(buffer.isnan().sum())} of {buffer.numel()}"
        for name, buffer in module.named_buffers()
        if not _is_finite(buffer) and bool(buffer.isnan().any())
    ]
    if bad:
        raise InvalidInputError(
            f"{_count(len(bad))} NaN or infinity",
            why="training diverged, or the file is damaged",
            hint="take an earlier checkpoint",
            details=_shown(bad),
        )


def _all_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _count(tensors: int) -> str:
    return "1 weight tensor holds" if tensors == 1 else f"{tensors} weight tensors hold"


def _shown(lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _MAX_NAMED} more"] if len(lines) > _MAX_NAMED else []
    return [*lines[:_MAX_NAMED], *more]


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return True
    # A finite sum proves that all terms are finite, in one pass; it may overflow, so look closer then.
    return bool(tensor.sum().isfinite()) or bool(torch.isfinite(tensor).all())


def count_parameters(module: nn.Module) -> int:
    """How many numbers the module's weights hold; shared ones count once.

    Weights that were made 8-bit integers, as those of quantization-aware training are, can be no parameters: they are buffers.
    """
    integers = (buffer for buffer in module.buffers() if buffer.dtype in _WEIGHT_INTEGERS)
    return sum(tensor.numel() for tensor in (*module.parameters(), *integers))


def digest_weights(module: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all parameters and buffers."""
    total = hashlib.sha256()
    for name, tensor in _all_tensors(module):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        data = tensor.detach().contiguous().view(-1).view(torch.uint8)
        total.update(data.numpy().data)
    return total.hexdigest()
