"""Wall time, CPU time and peak memory of a command and all its children."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Of one command: seconds on the wall, seconds of CPU, and the most memory its processes held together."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    output: str


def measure(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Measurement:
    """Run a command to its end.

    Raises:
        subprocess.CalledProcessError: It failed; its output is shown.
    """
    before, started = os.times(), time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
        cwd=folder,
    )
    peak = _Peak(process.pid)
    output, _ = process.communicate()
    wall = time.perf_counter() - started
    memory = peak.stop()
    after = os.times()
    if process.returncode:
        print(output, file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return Measurement(wall_seconds=wall, cpu_seconds=cpu, peak_memory_bytes=memory, output=output)


class _Peak:
    """Samples the resident memory of a process tree; shared pages count once for each process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._largest = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._largest

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self._largest = max(self._largest, _resident(self._pid))


def _resident(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total
