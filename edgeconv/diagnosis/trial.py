"""Tries a part of a model: it is converted by the route that failed, alone, and judged like any model."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeconv.diagnosis.shrink import OutOfTimeError
from edgeconv.errors import EdgeconvError
from edgeconv.execute.executor import convert
from edgeconv.execute.records import Attempt, GoalOutcome, Step, StepRecord
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Runner
from edgeconv.execute.verification import Verifier
from edgeconv.plugin.registry import Registry
from edgeconv.source import parse_model
from edgeconv.store import Store
from edgeconv.validation.verdict import Verdict

__all__ = ["Bench", "Clock"]


_logger = logging.getLogger(__name__)


class Clock:
    """How much time is left.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """Not below 0."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise `OutOfTimeError` when it is over."""
        if not self.left_seconds:
            raise OutOfTimeError


class _Silent:
    def step_started(self, step: Step) -> None:
        """Nothing: trials are not the user's steps."""

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where parts are tried.

    Attributes:
        request: The run that failed.
        registry: Its converters.
        runner: Worker processes; never the caller's own process, which a crash would end.
        verifiers: By format id.
        clock: Ends the search.
    """

    request: ConversionRequest
    registry: Registry
    runner: Runner
    verifiers: Mapping[str, Verifier]
    clock: Clock

    def attempt(
        self, model: str, goal: str, route: tuple[str, ...], folder: Path
    ) -> Attempt | None:
        """Convert a model by a route and no other; None if it came to no attempt.

        Args:
            model: As MODEL is written.
            goal: Format id.
            route: Ids of the converters.
            folder: An empty folder to work in.

        Raises:
            OutOfTimeError: There is no time left, or it ran out meanwhile.
        """
        result = self.convert(model, goal, route, folder)
        if result is None or not result.attempts:
            _logger.debug("%s: %s", model, result and result.error)
            return None
        return result.attempts[-1]

    def convert(
        self, model: str, goal: str, route: tuple[str, ...], folder: Path
    ) -> GoalOutcome | None:
        """As `attempt`; what became of the format, or None if the model cannot be read."""
        self.clock.check()
        store = folder / "store"
        store.mkdir(parents=True)
        try:
            outcome = convert(
                self._request(model, goal, route, folder / "out"),
                registry=self.registry,
                runner=self.runner,
                store=Store(store),
                listener=_Silent(),
                scratch=folder / "runs",
                verifiers=self.verifiers,
            )
        except EdgeconvError as error:
            _logger.debug("%s: %s", model, error)
            return None
        self.clock.check()  # a step that we ended ourselves has proved nothing
        (result,) = outcome.goals
        return result

    def _request(
        self, model: str, goal: str, route: tuple[str, ...], out: Path
    ) -> ConversionRequest:
        source = parse_model(model)
        most = self.request.timeout_seconds
        left = self.clock.left_seconds
        return ConversionRequest(
            name="subgraph",
            source=model,
            goals=(goal,),
            out=out,
            capture_options={"source": source.to_json(), "inputs": [], "trust": False},
            converter_options=self.request.converter_options,
            verify_options=self.request.verify_options,
            via=route,
            extensions=self.request.extensions,
            environments=self.request.environments,
            jobs=1,
            timeout_seconds=left if most is None else min(most, left),
            memory_limit_bytes=self.request.memory_limit_bytes,
            use_cache=False,
            seed=self.request.seed,
        )
