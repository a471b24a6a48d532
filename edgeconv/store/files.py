"""Puts files and folders somewhere else whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["copy", "link", "remove"]


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder to a path that does not exist; on failure nothing is left there."""
    _place(source, target, shutil.copyfile)


def link(source: Path, target: Path) -> None:
    """As `copy`, but share the bytes where the filesystem can."""
    _place(source, target, _link_file)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _place(source: Path, target: Path, place_file: Callable[[Path, Path], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not source.is_dir():
            place_file(source, target)
            return
        for folder, _, names in os.walk(source):
            inside = target / Path(folder).relative_to(source)
            inside.mkdir()
            for name in names:
                place_file(Path(folder) / name, inside / name)
    except BaseException:
        remove(target)
        raise


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another filesystem, or one without links
        shutil.copyfile(source, target)
