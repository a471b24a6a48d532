"""Wall time, CPU time and peak memory of a command and all its children, with a cap on time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import psutil

__all__ = ["Exceeded", "Limits", "Measurement", "measure", "observe"]

_SAMPLE_SECONDS = 0.1
Exceeded: TypeAlias = Literal["", "time", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a command and its children may take; they are ended where they take more."""

    seconds: float = float("inf")
    memory_bytes: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Of one command: seconds on the wall, seconds of CPU, and the most memory its processes held together.

    Attributes:
        wall_seconds: From start to end.
        cpu_seconds: Of all its processes that ended.
        peak_memory_bytes: The largest sum of resident bytes; shared pages count once for each process.
        output: What it printed.
        errors: What it printed as errors.
        status: What it ended with.
        exceeded: The limit it was ended for.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    output: str
    errors: str
    status: int
    exceeded: Exceeded = ""


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
    found = observe(command, environment=environment, folder=folder)
    if found.status:
        print(found.output, found.errors, file=sys.stderr)
        raise subprocess.CalledProcessError(found.status, command)
    return found


def observe(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    limits: Limits | None = None,
) -> Measurement:
    """Run a command until it ends or goes over a limit, whatever it ends with."""
    before, started = os.times(), time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        cwd=folder,
    )
    watch = _Watch(process.pid, limits or Limits())
    output, errors = process.communicate()
    wall = time.perf_counter() - started
    watch.stop()
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return Measurement(
        wall_seconds=wall,
        cpu_seconds=cpu,
        peak_memory_bytes=watch.largest_bytes,
        output=output,
        errors=errors,
        status=process.returncode,
        exceeded=watch.exceeded,
    )


class _Watch:
    """Samples the resident memory of a process tree, and ends the tree where it goes over a limit."""

    def __init__(self, pid: int, limits: Limits) -> None:
        self.largest_bytes = 0
        self.exceeded: Exceeded = ""
        self._pid = pid
        self._limits = limits
        self._started = time.perf_counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.largest_bytes = max(self.largest_bytes, _resident(self._pid))
            if time.perf_counter() - self._started > self._limits.seconds:
                self.exceeded = "time"
            elif self.largest_bytes > self._limits.memory_bytes:
                self.exceeded = "memory"
            if self.exceeded:
                _end(self._pid)
                return


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident(pid: int) -> int:
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _end(pid: int) -> None:
    for process in reversed(_tree(pid)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
