"""Looks for code in the pickles of an exported program (`.pt2`) before PyTorch reads them.

`torch.export.load` reads example inputs, constants and custom objects with `weights_only=False` where it cannot
otherwise (`torch/_export/serde/serialize.py`, `torch/export/pt2_archive/_package.py`), so that a file can run
anything. Here its pickles are scanned opcode by opcode, and nothing of them is run.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edgeconv.errors import InvalidInputError, UnsafeInputError

__all__ = ["refuse_pickled_code"]

_MAX_SHOWN = 20
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def refuse_pickled_code(path: Path) -> None:
    """Refuse an exported program whose pickles import more than tensors need.

    Raises:
        InvalidInputError: The archive cannot be read.
        UnsafeInputError: It would run code when read; nothing of it ran.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name for member in archive.namelist() for name in _imports(archive, member)}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise InvalidInputError(
            f"'{path}' is damaged", why=str(error), hint="fetch or export the file again"
        ) from error
    if found:
        raise UnsafeInputError(
            f"'{path}' would run code when read",
            why=f"its pickles import {len(found)} names that a program does not need",
            details=sorted(found)[:_MAX_SHOWN],
            hint="export the program again without custom objects, or pass --trust if you trust the file",
        )


def _imports(archive: zipfile.ZipFile, member: str) -> Iterator[str]:
    """Names that a member would import beyond those of tensors; none if it is no pickle."""
    with archive.open(member) as stream:
        head = stream.read(4)
        if head == _ZIP:
            yield from _checkpoint_imports(head + stream.read())
        elif head[:1] == _PICKLE:
            yield from _pickle_imports(head + stream.read())


def _checkpoint_imports(content: bytes) -> list[str]:
    import torch

    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    except (RuntimeError, ValueError, KeyError, EOFError):  # it only looks like one: raw weights
        return []


def _pickle_imports(content: bytes) -> Iterator[str]:
    """All imports: PyTorch pickles by itself only what is no tensor."""
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if isinstance(argument, str):
                strings.append(argument)
            if opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
    except ValueError:  # it only looks like one: raw weights
        return
