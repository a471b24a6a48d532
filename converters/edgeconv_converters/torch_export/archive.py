"""Looks at an archive before anything reads it: names that leave it, bombs, damage."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from edgeconv.errors import InvalidInputError, UnsafeInputError

__all__ = ["check_archive"]

_MAX_TOTAL_BYTES = 64 * 2**30
_MAX_RATIO = 200
_SMALL_BYTES = 10 * 2**20


def check_archive(path: Path) -> None:
    """Check every member's name, size and checksum; nothing is written.

    Raises:
        InvalidInputError: The archive is truncated, or a member is damaged or doubled.
        UnsafeInputError: A member would land outside the archive's folder, or is a bomb.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InvalidInputError(
            f"'{path}' is damaged", why=str(error), hint="the file is truncated: fetch it again"
        ) from error
    if damaged is not None:
        raise InvalidInputError(
            f"'{path}' is damaged", why=f"checksum of '{damaged}'", hint="fetch it again"
        )


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise InvalidInputError(f"'{path}' holds a member twice", hint="export it again")
    outside = [name for name in names if _leaves(name)]
    links = [m.filename for m in members if stat.S_ISLNK(m.external_attr >> 16)]
    if outside or links:
        raise UnsafeInputError(
            f"'{path}' holds members that lead out of the archive",
            details=[*outside, *links],
            hint="do not use this file: no tool writes such an archive",
        )
    total = sum(member.file_size for member in members)
    bombs = [
        m.filename
        for m in members
        if m.file_size > _SMALL_BYTES and m.file_size > _MAX_RATIO * max(m.compress_size, 1)
    ]
    if bombs or total > _MAX_TOTAL_BYTES:
        raise UnsafeInputError(
            f"'{path}' would unpack to {total} bytes",
            details=bombs,
            hint="do not use this file: it is made to fill memory",
        )


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or ":" in name.split("/", maxsplit=1)[0]
