"""Files that PyTorch reads, damaged or made hostile on purpose."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

Content = bytes | None


class Payload:
    """Creates a folder when it is unpickled: what a hostile pickle would do, made visible."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._marker),)


def rewrite(source: Path, target: Path, changes: Mapping[str, Content]) -> Path:
    """Copy an archive with other members: names are without the root folder, None takes a member out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for member in old.namelist():
            if member.partition("/")[2] not in changes:
                new.writestr(member, old.read(member))
        for name, content in changes.items():
            if content is not None:
                new.writestr(f"{root}/{name}", content)
    return target


def read_member(path: Path, name: str) -> bytes:
    """A member, named without the root folder."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        return archive.read(f"{root}/{name}")


def add_raw(path: Path, name: str, content: bytes = b"x", *, mode: int = 0) -> Path:
    """Add a member under exactly this name; `mode` is that of Unix, file type included."""
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, content)
    return path


def flip_byte(path: Path, target: Path, content: bytes) -> Path:
    """Copy a file with one byte of `content`, which is somewhere in it, changed: its checksum is wrong then."""
    data = bytearray(path.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 0xFF
    target.write_bytes(data)
    return target
