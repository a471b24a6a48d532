"""Puts files and folders somewhere else whole or not at all; a file with the second one that belongs to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgeconv.formats.companion import companion, files_of

__all__ = ["copy", "link", "move", "remove"]


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder to a path that does not exist; on failure nothing is left there."""
    _place(source, target, shutil.copyfile)


def link(source: Path, target: Path) -> None:
    """As `copy`, but share the bytes where the filesystem can."""
    _place(source, target, _link_file)


def remove(path: Path) -> None:
    """Remove a file, with the second one that belongs to it, or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    for item in (path, companion(path)):
        with suppress(OSError):
            item.unlink()


def move(source: Path, target: Path) -> None:
    """Put a file, with its second one, or a folder in place of what has the name; on failure what was there may be gone.

    A file that loses its second one on the way is removed first: it would be read with the weights of another model.
    """
    second = companion(source)
    if source.is_dir() or not second.is_file():
        source.replace(target)
        if not target.is_dir():
            with suppress(OSError):
                companion(target).unlink()
        return
    with suppress(FileNotFoundError):
        target.unlink()
    second.replace(companion(target))
    source.replace(target)


def _place(source: Path, target: Path, place_file: Callable[[Path, Path], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not source.is_dir():
            for item in files_of(source):
                # Runtimes refuse weights that other files share by links.
                how = place_file if item == source else shutil.copyfile
                how(item, target.with_name(f"{target.name}{item.name[len(source.name) :]}"))
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
