"""Translations to ONNX that plug-ins bring for operators of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import fx
from torch._ops import OpOverload

from edgeconv.lowering.sources import operator_nodes
from edgeconv.plugin import Job, load_extensions

__all__ = ["Added", "read_translations"]

Translations: TypeAlias = dict[Callable[..., object], Callable[..., object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What plug-ins bring.

    Attributes:
        translations: By operator.
        titles: How messages call the plug-in of each operator.
        problems: What is left out, for people.
    """

    translations: Translations = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def operators_of(self, module: fx.GraphModule) -> dict[str, str]:
        """The operators of a program that they translate, and how messages call the plug-in of each."""
        operators = dict.fromkeys(str(node.target) for node in operator_nodes(module))
        return {
            operator: self.titles[operator] for operator in operators if operator in self.titles
        }


def read_translations(job: Job) -> Added:
    """What the plug-ins of a job translate."""
    loaded, problems = load_extensions(job)
    added = Added(problems=problems)
    for title, brought in loaded:
        if not isinstance(brought, Mapping):
            problems.append(f"plug-in {title} is left out: it names no mapping")
            continue
        for operator, function in brought.items():
            if isinstance(operator, OpOverload) and callable(function):
                added.translations.setdefault(operator, function)
                added.titles.setdefault(str(operator), title)
            else:
                problems.append(f"{title}: '{operator}' is left out: it is no operator's overload")
    return added
