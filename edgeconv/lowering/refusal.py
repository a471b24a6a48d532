"""What a program does that the edge graph has no words for: collected, and told all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from edgeconv.errors import UnsupportedOperatorsError, counted
from edgeconv.graph import Source
from edgeconv.lowering.impossible import why_impossible
from edgeconv.lowering.sources import source_of

__all__ = ["CannotLowerError", "Refusal", "describe_operator", "refuse", "unsupported_error"]


class CannotLowerError(Exception):
    """A lowering cannot express what it was given; the message says what that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One operator that has no translation.

    Attributes:
        operator: As the user's program calls it.
        source: Where.
        why: What of it cannot be translated; empty where nothing of it can.
    """

    operator: str
    source: Source
    why: str = ""


def refuse(node: fx.Node, why: str = "") -> Refusal:
    """The refusal of a node; where nothing else is said of it, with why it cannot be translated at all, if it cannot."""
    why = why or why_impossible(node)
    return Refusal(operator=describe_operator(node), source=source_of(node), why=why)


def describe_operator(node: fx.Node) -> str:
    """The operator that the program called; what PyTorch made of it may have another name."""
    target = node.meta.get("original_aten") or node.target
    if (
        str(node.target) == "with_effects"
    ):  # orders what has an effect; the operator is its argument
        target = node.args[1]
    return str(target) if "." in str(target) else str(getattr(target, "__name__", target))


def unsupported_error(refusals: Sequence[Refusal]) -> UnsupportedOperatorsError:
    """The error that lists all refusals, with counts and the first source line of each."""
    keys = [(item.operator, item.why) for item in refusals]
    first = {key: item.source for key, item in zip(reversed(keys), reversed(refusals), strict=True)}
    counts = Counter(keys)
    return UnsupportedOperatorsError(
        f"{counted(len(counts), 'operator')} cannot be lowered",
        why="edgeconv has no translation for what is listed",
        hint="write the model with other operators, or teach these to edgeconv: docs/adding-an-operator.md",
        details=[
            f"{operator} x{count}, first at {first[operator, why]}" + (f": {why}" if why else "")
            for (operator, why), count in counts.most_common()
        ],
    )
