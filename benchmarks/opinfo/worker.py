"""Judges samples in a process of its own, since a runtime that is given a bad file may end it.

Reads requests from standard input, one JSON object a line: the unit, and the indices of the samples to judge (all
chosen ones where there are none). Writes what it is about to do and what came of it the same way.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial

__all__ = ["main"]


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the frameworks print is no answer
    warnings.simplefilter("ignore")

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")

    from benchmarks.opinfo.samples import draw_samples

    for line in sys.stdin:
        request = json.loads(line)
        operator, dtype, most, done = (request[k] for k in ("operator", "dtype", "most", "done"))
        try:
            count = sum(1 for _ in draw_samples((operator, dtype)))
        except Exception as error:  # noqa: BLE001 - a database that gives no samples is a fact to report
            answer(error=f"{type(error).__name__}: {error}"[:300])
            continue
        answer(count=count)
        _judge((operator, dtype), count, most, set(done), answer)
        answer(finished=True)


def _judge(
    unit: tuple[str, str],
    count: int,
    most: int,
    done: set[int],
    answer: Callable[..., None],
) -> None:
    from benchmarks.opinfo.judge import judge_sample
    from benchmarks.opinfo.samples import chosen_indices, draw_samples

    chosen: Iterable[int] = set(chosen_indices(count, most)) - done
    for sample in draw_samples(unit):
        if sample.index in chosen:
            row = judge_sample(sample, announce=partial(_announce, answer, sample.index))
            answer(row=row.to_json())


def _announce(answer: Callable[..., None], index: int, stage: str) -> None:
    answer(index=index, stage=stage)


if __name__ == "__main__":
    main()
