"""The seam to what looks into failures once all formats have been tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgeconv.execute.capture import LiveModel
from edgeconv.execute.delivery import OutputFolder
from edgeconv.execute.records import GoalOutcome
from edgeconv.execute.runner import Lane
from edgeconv.execute.steps import Steps

__all__ = ["Diagnose", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What failed.

    Attributes:
        live: The process that holds its program.
        is_dynamic: Whether it has dynamic dims.
        lane: The lane of that process.
        steps: Of the run.
    """

    live: LiveModel
    is_dynamic: bool
    lane: Lane
    steps: Steps


class Diagnose(Protocol):
    """Looks into failures; called when formats failed, while all that the run made is still there."""

    def __call__(
        self, goals: Mapping[str, GoalOutcome], subject: Subject, output: OutputFolder
    ) -> Mapping[str, GoalOutcome]:
        """The goals about which something was found.

        Args:
            goals: All that were pursued.
            subject: The model.
            output: Where what is found goes.
        """
        ...
