"""`python -m benchmarks.scoreboard.latency FORMAT ARTIFACT INPUTS`: milliseconds of one run, one thread, as a number.

ARTIFACT is run in its own runtime on INPUTS, an `.npz` of its inputs in their order: warmed up first, then timed
several times, of which the median counts.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np

from edgeconv.formats import load_handler

__all__ = ["median_milliseconds"]

_WARM_UP_RUNS = 3
_LEAST_RUNS = 7
_MOST_RUNS = 200
_SECONDS = 1.0


def median_milliseconds(format_id: str, artifact: Path, inputs: Path) -> float:
    """The median of at least seven runs, and of more where they are short."""
    with np.load(inputs) as arrays:
        values = [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
    handler = load_handler(format_id)
    names = [spec.name for spec in handler.read_signature(artifact).inputs]
    feeds = dict(zip(names, values, strict=True))
    with handler.open(artifact, threads=1) as session:
        last = session.run(feeds, repeat=_WARM_UP_RUNS).latencies_seconds[-1]
        runs = min(max(_LEAST_RUNS, int(_SECONDS / max(last, 1e-6))), _MOST_RUNS)
        latencies = session.run(feeds, repeat=runs).latencies_seconds
    return 1000 * statistics.median(latencies)


if __name__ == "__main__":
    print(round(median_milliseconds(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])), 4))
