"""Runs units in worker processes: a crash or a hang costs one sample, and is its result."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import IO, TypeAlias

from benchmarks.opinfo.formats import FORMATS
from benchmarks.opinfo.rows import Result, Row
from benchmarks.opinfo.samples import Unit

__all__ = ["run_units"]

Answer: TypeAlias = "dict[str, object]"
_SECONDS_PER_STAGE = 180
_SAMPLES_PER_WORKER = 400  # TensorFlow keeps what it has traced


def run_units(
    units: Iterable[Unit], *, workers: int, most: int, keep: Callable[[Unit, Result], None]
) -> None:
    """Judge the samples of every unit; `keep` is told each result, one at a time."""
    waiting: queue.SimpleQueue[Unit] = queue.SimpleQueue()
    for unit in units:
        waiting.put(unit)
    lock = threading.Lock()

    def work() -> None:
        worker = _Worker()
        while not waiting.empty():
            try:
                unit = waiting.get_nowait()
            except queue.Empty:
                break
            result = worker.run(unit, most)
            with lock:
                keep(unit, result)
        worker.stop()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Worker:
    """One process at a time, started again when it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._judged = 0

    def run(self, unit: Unit, most: int) -> Result:
        """Judge the samples of a unit, in as many processes as it takes."""
        result = Result()
        while not self._attempt(unit, most, result):
            pass
        if self._judged > _SAMPLES_PER_WORKER:
            self.stop()
        return result

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self._judged = None, 0

    def _attempt(self, unit: Unit, most: int, result: Result) -> bool:
        """Go on with a unit; False when the process ended on a sample, which then has a row."""
        process = self._process = self._process or _start()
        done = [row.index for row in result.rows]
        request = {"operator": unit[0], "dtype": unit[1], "most": most, "done": done}
        _pipe(process.stdin).write(json.dumps(request) + "\n")
        _pipe(process.stdin).flush()
        stage: Answer = {}
        while True:
            answer, is_late = _read(process)
            if answer is None:
                self.stop()
                return _note_end(stage, result, is_late=is_late)
            if "stage" in answer:
                stage = answer
            self._judged += "row" in answer
            if _take(answer, result):
                return True


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the process has no pipes")
    return stream


def _read(process: subprocess.Popen[str]) -> tuple[Answer | None, bool]:
    """The next answer, none where the process has ended; and whether it was ended for being late."""
    watch = threading.Timer(_SECONDS_PER_STAGE, process.kill)
    watch.start()
    line = _pipe(process.stdout).readline()
    is_late = not watch.is_alive()
    watch.cancel()
    return (json.loads(line) if line else None), is_late


def _take(answer: Answer, result: Result) -> bool:
    """Add an answer to a result; True when it is the last one."""
    row = answer.get("row")
    if isinstance(row, dict):
        result.rows.append(Row(**row))
    result.count = int(str(answer.get("count", result.count)))
    result.error = str(answer.get("error", result.error))
    return "finished" in answer or "error" in answer


def _note_end(stage: Answer, result: Result, *, is_late: bool) -> bool:
    """Make a row of the sample at which the process ended; True where there is none to go on after."""
    why = f"more than {_SECONDS_PER_STAGE} s" if is_late else "the process crashed"
    index = stage.get("index")
    if not isinstance(index, int) or any(row.index == index for row in result.rows):
        result.error = why
        return True
    row = Row(index=index, core="exported")  # not known: counted where it weighs most
    if stage["stage"] == "export":
        row.uncaptured = why
    row.failures = dict.fromkeys(FORMATS, f"{why} at '{stage['stage']}'")
    result.rows.append(row)
    return False


def _start() -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.opinfo.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
