"""Translations to ONNX that plug-ins bring for operators of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch._ops import OpOverload

from edgeconv.plugin import Job, load_extensions

__all__ = ["read_translations"]

Translations = dict[Callable[..., object], Callable[..., object]]


def read_translations(job: Job) -> tuple[Translations, list[str]]:
    """What the plug-ins of a job translate, and what of it is left out, for people."""
    loaded, problems = load_extensions(job)
    found: Translations = {}
    for title, brought in loaded:
        if not isinstance(brought, Mapping):
            problems.append(f"plug-in {title} is left out: it names no mapping")
            continue
        for operator, function in brought.items():
            if isinstance(operator, OpOverload) and callable(function):
                found.setdefault(operator, function)
            else:
                problems.append(f"{title}: '{operator}' is left out: it is no operator's overload")
    return found, problems
