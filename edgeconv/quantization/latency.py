"""How long a run of several files takes, measured in turns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from edgeconv.formats.handler import Array, Session
from edgeconv.validation.measure import time_rounds

__all__ = ["measure_latencies"]

_SECONDS = 2.0


def measure_latencies(
    sessions: Sequence[Session], inputs: Mapping[str, Array], *, seconds: float = _SECONDS
) -> tuple[float, ...]:
    """Median seconds of a run of each opened file, measured in turns."""
    times = time_rounds(sessions, inputs, seconds=seconds)
    return tuple(statistics.median(each) for each in times)
