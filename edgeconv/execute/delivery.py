"""Puts verified artifacts into the user's output folder: whole or not at all, and nothing else is touched there."""

from __future__ import annotations

import errno
import json
import logging
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from edgeconv.errors import OutputError
from edgeconv.execute.ownership import is_our_rejection, is_our_reproduction, is_ours
from edgeconv.formats import Format
from edgeconv.formats.companion import companion
from edgeconv.plugin.job import Json
from edgeconv.store.files import copy, move, remove

__all__ = ["REJECTED", "OutputFolder"]

REJECTED = "rejected"
"""The folder in an output folder that keeps what failed verification."""

_AWAY = "move it away, or choose another folder with -o, or another --name"
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)
_MAX_SWAPS = 20
_logger = logging.getLogger(__name__)


class OutputFolder:
    """The folder given with `-o`.

    Args:
        path: It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._created: list[Path] = []

    def prepare(self, artifacts: Mapping[str, Format]) -> None:
        """Create it and make sure that it can be written, before any work is done.

        Args:
            artifacts: The format of each artifact that is to be delivered, by its name in the folder.

        Raises:
            OutputError: It is no folder, cannot be written, or holds something else under one of the names.
        """
        foreign = [
            f"'{name}': {why}"
            for name, known in artifacts.items()
            if (why := _why_foreign(self.path / name, known))
        ]
        if foreign:
            raise OutputError(
                f"'{self.path}' holds files that edgeconv did not make",
                why="it would have to replace them",
                hint=_AWAY,
                details=foreign,
            )
        try:
            self._create(self.path)
            self._remove_abandoned()
            trial = self._aside()
            trial.touch()
            trial.unlink()
        except OSError as error:
            self.tidy()
            raise _unwritable(self.path, error) from error

    def deliver(self, source: Path, name: str, known: Format) -> Path:
        """Copy an artifact in, in place of an older one of that name.

        Args:
            source: File or folder.
            name: Its name in the folder.
            known: Its format.

        Returns:
            Where it is now.

        Raises:
            OutputError: The disk is full, the folder is gone, or something else has that name.
        """
        target = self.path / name
        if why := _why_foreign(target, known):
            raise OutputError(f"'{target}' is not replaced", why=why, hint=_AWAY)
        try:
            self._replace(source, target)
        except OSError as error:
            raise _unwritable(target, error) from error
        return target

    def reject(self, source: Path, name: str, reason: Mapping[str, Json]) -> Path | None:
        """Keep an artifact that failed verification, with the reason beside it; None if it cannot be kept."""
        folder = self.path / REJECTED
        if (folder / name).exists() and not is_our_rejection(folder / f"{name}.json"):
            _logger.warning(
                "'%s' is not kept under '%s': something else has its name", name, folder
            )
            return None
        try:
            self._create(folder)
            self._replace(source, folder / name)
            aside = self._aside()
            try:
                aside.write_text(json.dumps(reason, indent=2) + "\n")
                aside.replace(folder / f"{name}.json")
            finally:
                remove(aside)
        except OSError as error:
            _logger.warning("'%s' is not kept under '%s': %s", name, folder, error)
            return None
        return folder / name

    def keep_reproduction(self, source: Path, name: str) -> Path | None:
        """Keep the folder for a bug report about the artifact `name`; None if it cannot be kept."""
        target = self._reproduction(name)
        if target.exists() and not is_our_reproduction(target):
            _logger.warning("'%s' is not replaced: edgeconv did not make it", target)
            return None
        try:
            self._create(target.parent)
            self._replace(source, target)
        except OSError as error:
            _logger.warning("'%s' cannot be written: %s", target, error)
            return None
        return target

    def forget_reproduction(self, name: str) -> None:
        """Remove what an earlier run found out about a failure of the artifact `name`."""
        target = self._reproduction(name)
        if is_our_reproduction(target):
            remove(target)
            with suppress(OSError):
                target.parent.rmdir()

    def _reproduction(self, name: str) -> Path:
        return self.path / REJECTED / f"{name}.reproduce"

    def forget_rejected(self, name: str) -> None:
        """Remove what an earlier run rejected under this name."""
        folder = self.path / REJECTED
        if not is_our_rejection(folder / f"{name}.json"):
            return
        for path in (folder / name, folder / f"{name}.json"):
            remove(path)
        with suppress(OSError):
            folder.rmdir()

    def tidy(self) -> None:
        """Remove the folders that were created and are empty."""
        for path in reversed(self._created):
            with suppress(OSError):
                path.rmdir()

    def _create(self, folder: Path) -> None:
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            self._created.append(path)
        if not folder.is_dir():
            raise NotADirectoryError(f"'{folder}' is a file, not a folder")

    def _replace(self, source: Path, target: Path) -> None:
        aside = self._aside()
        copy(source, aside)
        try:
            for attempt in range(_MAX_SWAPS):
                try:
                    self._swap(aside, target)
                    break
                except OSError as error:  # another run put its own folder there meanwhile
                    if error.errno not in _OCCUPIED or attempt == _MAX_SWAPS - 1:
                        raise
        finally:
            remove(aside)

    def _swap(self, aside: Path, target: Path) -> None:
        """Move into place; a folder cannot be replaced in one go, so the old one makes room first."""
        old = self._aside()
        try:
            if target.is_dir():
                with suppress(FileNotFoundError):  # another run was faster
                    target.rename(old)
            move(aside, target)
        except OSError:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
        finally:
            remove(old)

    def _aside(self) -> Path:
        return self.path / f".edgeconv-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"

    def _remove_abandoned(self) -> None:
        """Remove what a run that was killed left half-written."""
        for path in self.path.glob(".edgeconv-*-*.partial"):
            pid = path.name.split("-")[1]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                remove(path)


def _why_foreign(target: Path, known: Format) -> str:
    """Why what has the name of an artifact may not be replaced; empty if it may."""
    second = companion(target)
    if not known.is_directory and (second.exists() or second.is_symlink()) and not is_ours(second):
        return f"'{second.name}' exists already, and edgeconv did not make it"
    if not target.exists() and not target.is_symlink():
        return ""
    if target.is_dir() != known.is_directory:
        return f"it exists already and is {'a folder' if target.is_dir() else 'a file'}"
    return "" if is_ours(target) else "it exists already, and edgeconv did not make it"


def _unwritable(path: Path, error: OSError) -> OutputError:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return OutputError(
        f"'{path}' cannot be written",
        why=error.strerror or str(error),
        hint="make room there, or choose another folder with -o"
        if is_full
        else "choose a folder that you may write to with -o",
    )
