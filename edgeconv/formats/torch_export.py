"""Exported programs (`.pt2`): the record that edgeconv keeps in the archive, and running them in PyTorch."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.handler import Session
from edgeconv.formats.pickles import refuse_pickled_code
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.formats.torch_files import torch_file
from edgeconv.formats.torch_session import TorchSession
from edgeconv.signature import Signature

__all__ = ["HANDLER", "TorchExportHandler"]


class TorchExportHandler:
    """Reads, labels and runs exported programs."""

    def read_signature(self, path: Path) -> Signature:
        """The signature that edgeconv stored in the archive; no framework is imported.

        Raises:
            InvalidInputError: The file is damaged, or was not made by edgeconv.
        """
        return self._record(path)[0]

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored; empty for a file of another tool.

        Raises:
            InvalidInputError: The file is damaged.
        """
        text = _read_text(path)
        return read_record(text)[1] if text else {}

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Store signature and metadata; the program is as it was.

        Raises:
            InvalidInputError: The file is damaged.
            OSError: It cannot be rewritten; it is as it was.
        """
        import torch

        program = _load(path)
        aside = path.with_name(f".{path.name}.stamping.pt2")
        try:
            extra = {RECORD_NAME: write_record(signature, metadata)}
            with torch_file(aside) as stream:
                torch.export.save(program, stream, extra_files=extra)
            os.replace(aside, path)  # noqa: PTH105 - one call, atomic
        finally:
            aside.unlink(missing_ok=True)

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - the protocol's
        """Open in PyTorch, in this process; PyTorch's number of threads belongs to the process.

        Raises:
            InvalidInputError: PyTorch refuses the file.
            MissingDependencyError: PyTorch is not installed.
        """
        return TorchSession(self.read_signature(path), _load(path).module())

    def _record(self, path: Path) -> tuple[Signature, dict[str, str]]:
        try:
            return read_record(_read_text(path))
        except ValueError as error:
            raise InvalidInputError(
                f"'{path}' has no record of edgeconv",
                why="it was exported by another tool",
                hint="convert it with --to torch-export first",
            ) from error


def _read_text(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(f"extra/{RECORD_NAME}"):
                    return archive.read(name).decode()
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact exported program", why=str(error), hint="export it again"
        ) from error
    return ""


def _load(path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202 - torch is imported late
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "an exported program needs PyTorch",
            why=str(error),
            hint="pip install 'edgeconv[torch]'",
        ) from error
    refuse_pickled_code(path)
    try:
        return torch.export.load(path)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact exported program",
            why=str(error).strip().partition("\n")[0],
            hint="export it again",
        ) from error


HANDLER = TorchExportHandler()
