"""How long a run of several files of one format takes, measured in turns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeconv.formats import load_handler
from edgeconv.formats.handler import Array
from edgeconv.validation.measure import time_rounds

__all__ = ["measure_latencies"]

_SECONDS = 2.0


def measure_latencies(
    format_id: str, paths: Sequence[Path], inputs: Mapping[str, Array], *, seconds: float = _SECONDS
) -> tuple[float, ...]:
    """Median seconds of a run of each file, on one thread, measured in turns."""
    handler = load_handler(format_id)
    sessions = [handler.open(path, threads=1) for path in paths]
    times = time_rounds(sessions, inputs, seconds=seconds)
    return tuple(statistics.median(each) for each in times)
