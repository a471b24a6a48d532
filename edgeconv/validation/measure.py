"""Measures artifacts of one format side by side: in one process, round after round, so that none has a better time of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edgeconv.formats import load_handler
from edgeconv.formats.handler import Session
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.validation.reference import read_reference

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["CANDIDATE", "measure", "time_rounds"]

CANDIDATE = "candidate_"
"""What the roles of the artifacts begin with; their number follows."""

_WARM_UP_ROUNDS = 3
_LEAST_ROUNDS = 5
_MOST_ROUNDS = 200
_SECONDS = 4.0


def measure(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Run the artifacts `inputs["candidate_0"]`, … on the example of the bundle `inputs["reference"]`, on one thread.

    Args:
        request: The JSON of a `Job`; the option `format` names the format of all of them.
        context: Of the worker; not used.

    Returns:
        The JSON of a `JobResult`: in its details `latencies_seconds`, the median of each in order, and `rounds`.

    Raises:
        InvalidInputError: One of them does not run.
        MissingDependencyError: The runtime of the format is not installed.
    """
    job = Job.from_json(request)
    roles = sorted(
        (role for role in job.inputs if role.startswith(CANDIDATE)),
        key=lambda role: int(role.removeprefix(CANDIDATE)),
    )
    inputs = read_reference(job.inputs["reference"]).cases[0].inputs()
    handler = load_handler(str(job.options["format"]))
    with ExitStack() as stack:
        sessions = [stack.enter_context(handler.open(job.inputs[role])) for role in roles]
        times = time_rounds(sessions, inputs)
    details: dict[str, Json] = {
        "latencies_seconds": [statistics.median(each) for each in times],
        "rounds": len(times[0]),
    }
    return JobResult(output=job.output, details=details).to_json()


def time_rounds(
    sessions: Sequence[Session], inputs: Mapping[str, Array], *, seconds: float = _SECONDS
) -> list[list[float]]:
    """Seconds of every run of each session; all run once in every round.

    Args:
        sessions: Opened artifacts that take the same inputs.
        inputs: By name.
        seconds: Roughly how long to go on.
    """
    for session in sessions:
        session.run(inputs, repeat=_WARM_UP_ROUNDS)
    times: list[list[float]] = [[] for _ in sessions]
    end = time.monotonic() + seconds
    for done in range(_MOST_ROUNDS):
        if done >= _LEAST_ROUNDS and time.monotonic() > end:
            break
        for session, taken in zip(sessions, times, strict=True):
            taken.extend(session.run(inputs).latencies_seconds)
    return times
