"""Puts verified artifacts into the user's output folder: whole or not at all, and nothing else is touched there."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from edgeconv.errors import EdgeconvError, OutputError
from edgeconv.formats import Format, detect
from edgeconv.plugin.job import Json
from edgeconv.store.files import copy, remove

__all__ = ["OutputFolder"]

_REJECTED = "rejected"
_logger = logging.getLogger(__name__)


class OutputFolder:
    """The folder given with `-o`.

    Args:
        path: It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._created: list[Path] = []

    def prepare(self) -> None:
        """Create it and make sure that it can be written, before any work is done.

        Raises:
            OutputError: It is no folder, or cannot be written.
        """
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
        try:
            _refuse_foreign(target, known)
            self._replace(source, target)
        except OSError as error:
            raise _unwritable(target, error) from error
        return target

    def reject(self, source: Path, name: str, reason: Mapping[str, Json]) -> Path | None:
        """Keep an artifact that failed verification, with the reason beside it; None if it cannot be kept."""
        folder = self.path / _REJECTED
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

    def forget_rejected(self, name: str) -> None:
        """Remove what an earlier run rejected under this name."""
        folder = self.path / _REJECTED
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
        aside, old = self._aside(), self._aside()
        copy(source, aside)
        try:
            if target.is_dir():  # a folder cannot be replaced in one go: swap it
                target.rename(old)
            aside.replace(target)
        except OSError:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
        finally:
            remove(aside)
            remove(old)

    def _aside(self) -> Path:
        return self.path / f".edgeconv-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"

    def _remove_abandoned(self) -> None:
        """Remove what a run that was killed left half-written."""
        for path in self.path.glob(".edgeconv-*-*.partial"):
            pid = path.name.split("-")[1]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                remove(path)


def _refuse_foreign(target: Path, known: Format) -> None:
    """Refuse to replace what edgeconv did not make."""
    if not target.exists():
        return
    if target.is_dir() != known.is_directory:
        is_now = "a folder" if target.is_dir() else "a file"
        raise FileExistsError(f"it exists already and is {is_now}")
    if target.is_dir() and any(target.iterdir()) and _detect(target) != known.id:
        raise FileExistsError(f"it exists already and is no {known.title}")


def _detect(path: Path) -> str:
    try:
        return detect(path).id
    except EdgeconvError:
        return ""


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"'{path}' cannot be written",
        why=error.strerror or str(error),
        hint="choose another folder with -o, or make room there",
    )
