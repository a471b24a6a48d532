"""Runs units in worker processes: a crash or a hang costs one sample, and is its result."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from benchmarks.opinfo.samples import Unit

__all__ = ["Result", "run_units"]

Row: TypeAlias = "dict[str, object]"
Result: TypeAlias = "dict[str, object]"
"""Of one unit: `count` of its samples, the `rows` of those judged, or the `error` of the database itself."""

_SECONDS_PER_STAGE = 180
_SAMPLES_PER_WORKER = 400  # TensorFlow keeps what it has traced
_FORMATS = ("savedmodel", "tflite")


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
        rows: list[Row] = []
        result: Result = {"rows": rows}
        while not self._attempt(unit, most, result, rows):
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

    def _attempt(self, unit: Unit, most: int, result: Result, rows: list[Row]) -> bool:
        """Go on with a unit; False when the process ended on a sample, which then has a row."""
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        done = [row["index"] for row in rows]
        request = {"operator": unit[0], "dtype": unit[1], "most": most, "done": done}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        stage: Mapping[str, object] = {}
        while True:
            watch = threading.Timer(_SECONDS_PER_STAGE, process.kill)
            watch.start()
            line = process.stdout.readline()
            is_late = not watch.is_alive()
            watch.cancel()
            if not line:
                self.stop()
                return _ended(stage, result, rows, is_late=is_late)
            answer = json.loads(line)
            if "row" in answer:
                rows.append(answer["row"])
                self._judged += 1
            elif "stage" in answer:
                stage = answer
            else:
                result.update(answer)
                if "finished" in answer or "error" in answer:
                    return True


def _ended(stage: Mapping[str, object], result: Result, rows: list[Row], *, is_late: bool) -> bool:
    """Make a row of the sample at which the process ended; True where there is none to go on after."""
    why = f"more than {_SECONDS_PER_STAGE} s" if is_late else "the process crashed"
    if not stage or any(row["index"] == stage["index"] for row in rows):
        result["error"] = why
        return True
    row: Row = {"index": stage["index"], "uncaptured": "", "core": "exported", "is_random": False}
    if stage["stage"] == "export":
        row["uncaptured"] = why
    at = f"{why} at '{stage['stage']}'"
    row["failures"] = dict.fromkeys(_FORMATS, at)
    rows.append(row)
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
