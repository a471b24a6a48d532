"""Exported programs (`.pt2`): the record that edgeconv keeps in the archive, and running them in PyTorch."""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.declared import merge_signatures
from edgeconv.formats.handler import Session
from edgeconv.formats.program_check import check_program
from edgeconv.formats.program_signature import read_program_signature
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.formats.torch_archive import check_archive, replace_member
from edgeconv.formats.torch_session import TorchSession
from edgeconv.signature import Signature

if TYPE_CHECKING:
    import torch

__all__ = ["HANDLER", "TorchExportHandler", "load_program", "read_stored"]

_MODEL = "models/model.json"
# What programs call that were quantized, and what PyTorch defines only once it is asked to.
_QUANTIZED = "quantized_decomposed."


class TorchExportHandler:
    """Reads, labels and runs exported programs."""

    def read_signature(self, path: Path) -> Signature:
        """Names, dtypes and sizes of the program; names of outputs and dims from edgeconv's record, if it has one.

        No framework is imported.

        Raises:
            InvalidInputError: The file is damaged.
        """
        check_archive(path)
        return _read_declared(path)

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored; empty for a file of another tool.

        Raises:
            InvalidInputError: The file is damaged.
        """
        stored = read_stored(path)
        return {} if stored is None else stored[1]

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Store signature and metadata; the program is as it was. No framework is imported.

        Raises:
            InvalidInputError: The file is damaged.
            OSError: It cannot be rewritten; it is as it was.
        """
        check_archive(path)
        aside = path.with_name(f".{path.name}.stamping")
        try:
            text = write_record(signature, metadata)
            replace_member(path, aside, f"extra/{RECORD_NAME}", text.encode())
            os.replace(aside, path)  # noqa: PTH105 - one call, atomic
        finally:
            aside.unlink(missing_ok=True)

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - the protocol's
        """Open in PyTorch, in this process; PyTorch's number of threads belongs to the process.

        Raises:
            InvalidInputError: PyTorch refuses the file.
            UnsafeInputError: It would run code when read.
            MissingDependencyError: PyTorch is not installed.
        """
        program = load_program(path)
        return TorchSession(_read_declared(path), program.module())


def _read_declared(path: Path) -> Signature:
    stored = read_stored(path)
    names = [spec.name for spec in stored[0].outputs] if stored else []
    try:
        declared = read_program_signature(json.loads(_read_member(path, _MODEL)), names)
    except ValueError as error:
        raise _damaged(path, error) from error
    return merge_signatures(declared, stored[0]) if stored else declared


def read_stored(path: Path) -> tuple[Signature, dict[str, str]] | None:
    """The signature and the metadata that edgeconv stored; None in a file of another tool.

    Raises:
        InvalidInputError: The file is damaged.
    """
    text = _read_member(path, f"extra/{RECORD_NAME}")
    try:
        return read_record(text) if text else None
    except ValueError as error:
        raise _damaged(path, error) from error


def _read_member(path: Path, name: str) -> str:
    """The text of a member; empty if it is not there."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [n for n in archive.namelist() if n.partition("/")[2] == name]
            return archive.read(found[0]).decode() if found else ""
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"'{path}' is no intact exported program",
        why=str(error).strip().partition("\n")[0] or type(error).__name__,
        hint="it is damaged, or of another version of PyTorch: export it again",
    )


def load_program(path: Path, *, is_trusted: bool = False) -> torch.export.ExportedProgram:
    """Read a program.

    Args:
        path: The file.
        is_trusted: Whether it may run code while it is read.

    Raises:
        InvalidInputError: It is damaged, or of an older kind.
        UnsafeInputError: It would run code; nothing of it ran.
        MissingDependencyError: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "an exported program needs PyTorch",
            why=str(error),
            hint="pip install 'edgeconv[torch]'",
        ) from error
    check_archive(path)
    if not is_trusted:
        check_program(path)
    _check_operators(path)
    try:
        return torch.export.load(path)
    except Exception as error:
        raise _damaged(path, error) from error


def _check_operators(path: Path) -> None:
    """Refuse a program whose operators nobody has defined in this process.

    Raises:
        InvalidInputError: There are such operators; all are named.
    """
    import torch

    text = _read_member(path, _MODEL)
    named = sorted(set(re.findall(r'"torch\.ops\.(\w+\.\w+)\.\w+"', text)))
    if any(name.startswith(_QUANTIZED) for name in named):
        import torch.ao.quantization.fx._decomposed
    missing = [name for name in named if not _is_defined(torch.ops, name)]
    if missing:
        raise InvalidInputError(
            f"'{path.name}' calls operators that are not PyTorch's",
            why="nothing has defined them where it is read",
            hint="install a plug-in that defines and lowers them: docs/adding-an-operator.md tells how",
            details=missing,
        )


def _is_defined(root: object, name: str) -> bool:
    namespace, _, operator = name.partition(".")
    try:
        return hasattr(getattr(root, namespace), operator)
    except (AttributeError, RuntimeError):
        return False


HANDLER = TorchExportHandler()
