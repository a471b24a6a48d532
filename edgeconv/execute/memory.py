"""How much memory a process and all it started hold."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

__all__ = ["MemoryMeter", "default_limit_bytes", "resident_bytes"]

_SAMPLE_SECONDS = 0.2
# A worker that takes more than this is about to take the machine down, or to be ended by the system.
_LARGEST_SHARE = 0.9
# Containers are given less than the machine has; the files are those of control groups, version 2 and 1.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_limit_bytes() -> int:
    """The most that one worker may take where the user set no limit: most of what there is."""
    total = int(psutil.virtual_memory().total)
    for path in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or `max`
            total = min(total, int(path.read_text()))
    return int(total * _LARGEST_SHARE)


def resident_bytes(pid: int) -> int:
    """Resident bytes of a process and its descendants; shared pages count once for each; 0 if it is gone."""
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


class MemoryMeter:
    """Samples the memory of this process tree while it is entered; `peak_bytes` is the largest sample."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, resident_bytes(os.getpid()))
            if self._stop.wait(_SAMPLE_SECONDS):
                return
