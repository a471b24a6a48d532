"""Digests of files, remembered as long as a file's identity, size and time of change stay the same.

A second run must not read 400 MB of unchanged weights again to learn that they are unchanged.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path

from edgeconv.artifact import digest_file, digest_path

__all__ = ["DigestMemo"]

_SETTLED_NANOSECONDS = 2 * 10**9
_MAX_ENTRIES = 20_000
_logger = logging.getLogger(__name__)


class DigestMemo:
    """SHA-256 by (device, inode, size, time of change).

    Args:
        path: Where it is kept between runs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._known: dict[str, str] | None = None
        self._is_changed = False

    def digest(self, path: Path, *, is_ours: bool = False) -> str:
        """What `artifact.digest_path` gives, without reading what was read before.

        Args:
            path: A file or a folder.
            is_ours: Nobody else writes there. A stranger's file is remembered only when its last change is
                some time ago: within one tick of the clock it could change again unnoticed.

        Raises:
            OSError: It is gone, or cannot be read.
        """
        return digest_path(path, lambda item: self._digest_file(item, is_ours=is_ours))

    def flush(self) -> None:
        """Keep what is known for the next run; what cannot be kept is computed again."""
        with self._guard:
            if not self._is_changed or self._known is None:
                return
            newest = list(self._known.items())[-_MAX_ENTRIES:]
            aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            try:
                aside.write_text(json.dumps(dict(newest)))
                aside.replace(self._path)
            except OSError as error:
                aside.unlink(missing_ok=True)
                _logger.warning("digests are not remembered: %s", error)
            self._is_changed = False

    def _digest_file(self, path: Path, *, is_ours: bool) -> str:
        status = path.stat()
        key = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
        with self._guard:
            known = self._entries().get(key)
        if known is not None:
            return known
        found = digest_file(path)
        if is_ours or time.time_ns() - status.st_mtime_ns > _SETTLED_NANOSECONDS:
            with self._guard:
                self._entries()[key] = found
                self._is_changed = True
        return found

    def _entries(self) -> dict[str, str]:
        if self._known is None:
            self._known = _read(self._path)
        return self._known


def _read(path: Path) -> dict[str, str]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
