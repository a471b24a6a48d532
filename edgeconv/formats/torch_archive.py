"""Looks at a zip archive before PyTorch reads it: names that lead out of it, bombs, damage.

`.pt2` programs, TorchScript and checkpoints are zip archives. PyTorch reads them with code of its own that trusts
what the archive says about itself, so its table is examined first, with the standard library alone: nothing is
extracted, and nothing is unpickled.
"""

from __future__ import annotations

import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from edgeconv.errors import InvalidInputError, UnsafeInputError

__all__ = ["check_archive", "replace_member"]

_MAX_TOTAL_BYTES = 64 * 2**30
# Deflate cannot do better than 1032; text of programs reaches 30, and weights are stored as they are.
_MAX_RATIO = 200
_SMALL_BYTES = 10 * 2**20
# PyTorch lets the content of every member begin at a multiple of this, behind a field of padding.
_ALIGNMENT_BYTES = 64
_PADDING_ID = int.from_bytes(b"FB", "little")
_LOCAL_HEADER_BYTES = 30
_ZIP64_FIELD_BYTES = 20
_CHUNK_BYTES = 1 << 20


def check_archive(path: Path) -> None:
    """Check every member's name, size and checksum; nothing is written.

    Raises:
        InvalidInputError: It is no archive, is truncated, or a member is damaged or doubled.
        UnsafeInputError: A member would land outside the archive's folder, or is a bomb.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_names(path, members)
            _check_sizes(path, members)
            damaged = archive.testzip()
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InvalidInputError(
            f"'{path}' is damaged",
            why=_describe(error),
            hint="the file is truncated or altered: fetch it again",
        ) from error
    if damaged is not None:
        raise InvalidInputError(
            f"'{path}' is damaged",
            why=f"'{damaged}' does not have the checksum it should have",
            hint="the file was altered: fetch it again",
        )


def _describe(error: Exception) -> str:
    if "not a zip file" in str(error):
        return "it begins as a zip archive, but its end is missing"
    return str(error) or type(error).__name__


def replace_member(source: Path, target: Path, name: str, content: bytes) -> None:
    """Copy an archive with other content in one member, which is added if it is not there.

    Args:
        source: The archive, intact.
        target: Where to; what is there is overwritten, and stays half-written on failure.
        name: The member, without the folder that all members are in.
        content: What it is to hold.

    Raises:
        OSError: It cannot be written.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        members = old.infolist()
        full_name = f"{members[0].filename.partition('/')[0]}/{name}"
        for member in members:
            if member.filename != full_name:
                with old.open(member) as stream:
                    _add(new, _copy_of(member), stream)
        replaced = zipfile.ZipInfo(full_name)
        replaced.file_size = len(content)
        _add(new, replaced, io.BytesIO(content))


def _copy_of(member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    copied = zipfile.ZipInfo(member.filename, member.date_time)
    copied.compress_type, copied.file_size = member.compress_type, member.file_size
    return copied


def _add(archive: zipfile.ZipFile, member: zipfile.ZipInfo, content: IO[bytes]) -> None:
    fields = _ZIP64_FIELD_BYTES if member.file_size > zipfile.ZIP64_LIMIT // 2 else 0
    header = _LOCAL_HEADER_BYTES + len(member.filename.encode()) + fields + 4
    padding = -(archive.start_dir + header) % _ALIGNMENT_BYTES
    member.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
    with archive.open(member, "w", force_zip64=fields > 0) as stream:
        shutil.copyfileobj(content, stream, _CHUNK_BYTES)


def _check_names(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    # PyTorch looks members up without regard to case, so that two of them could be taken for one another.
    counts = Counter(member.filename.lower() for member in members)
    doubled = sorted(name for name, count in counts.items() if count > 1)
    if doubled:
        raise InvalidInputError(
            f"'{path}' is damaged",
            why="it holds members twice, and tools disagree on which one counts",
            hint="export it again",
            details=doubled,
        )
    outside = [member.filename for member in members if _leaves(member.filename)]
    links = [m.filename for m in members if stat.S_ISLNK(m.external_attr >> 16)]
    if outside or links:
        raise UnsafeInputError(
            f"'{path}' holds members that lead out of the archive",
            details=[*outside, *links],
            hint="do not use this file: no tool writes such an archive",
        )


def _check_sizes(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    bombs = [m.filename for m in members if _is_bomb(m.file_size, m.compress_size)]
    # Members may share their bytes, so the archive as a whole is measured by what it takes on disk.
    if bombs or _is_bomb(total, path.stat().st_size) or total > _MAX_TOTAL_BYTES:
        raise UnsafeInputError(
            f"'{path}' would unpack to {total} bytes",
            details=bombs,
            hint="do not use this file: it is made to fill memory",
        )


def _is_bomb(size_bytes: int, stored_bytes: int) -> bool:
    return size_bytes > _SMALL_BYTES and size_bytes > _MAX_RATIO * max(stored_bytes, 1)


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or ":" in name.split("/", maxsplit=1)[0]
