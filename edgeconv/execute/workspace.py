"""The folder a run works in: gone when the run ends, and cleared away by the next one where it could not be."""

from __future__ import annotations

import shutil
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from edgeconv.artifact import measure_size
from edgeconv.errors import OutputError

__all__ = ["Workspace", "remove_abandoned"]

_PREFIX = "run-"


class Workspace:
    """A context manager with a folder for each step.

    Args:
        root: Holds the folders of all runs, best on the filesystem of the store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._guard = threading.Lock()
        self._count = 0
        self.path = root

    def folder(self, title: str) -> Path:
        """A new folder for one step.

        Raises:
            OutputError: It cannot be created.
        """
        with self._guard:
            self._count += 1
            path = self.path / f"{self._count:02}-{title}"
        try:
            path.mkdir()
        except OSError as error:
            raise _no_space(path, error) from error
        return path

    def __enter__(self) -> Self:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self._root)
            self.path = self._root / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
            # Held as long as the run lasts: the kernel lets go of it however the run ends.
            self._lock = FileLock(_lock_path(self.path), thread_local=False)
            self._lock.acquire()
            self.path.mkdir()
        except OSError as error:
            raise _no_space(self._root, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
        with suppress(OSError):
            _lock_path(self.path).unlink()


def remove_abandoned(root: Path) -> int:
    """Remove the folders of runs that were killed; returns the bytes freed."""
    freed = 0
    for path in root.glob(f"{_PREFIX}*.lock"):
        with suppress(Timeout, OSError), FileLock(path, timeout=0):
            folder = path.with_suffix("")
            freed += measure_size(folder) if folder.exists() else 0
            shutil.rmtree(folder, ignore_errors=True)
            path.unlink()
    return freed


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _no_space(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"'{path}' cannot be written",
        why=error.strerror or str(error),
        hint="set EDGECONV_CACHE_DIR to a writable folder with enough space",
    )
