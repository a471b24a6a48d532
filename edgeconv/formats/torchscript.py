"""TorchScript files: the record that edgeconv keeps beside the code, and running them in PyTorch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.handler import Session
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.formats.torch_files import torch_file
from edgeconv.formats.torch_session import TorchSession
from edgeconv.signature import Signature

if TYPE_CHECKING:
    import torch

__all__ = ["HANDLER", "TorchScriptHandler"]


class TorchScriptHandler:
    """Reads, labels and runs TorchScript files."""

    def read_signature(self, path: Path) -> Signature:
        """The signature that edgeconv stored; TorchScript itself knows no shapes.

        Raises:
            InvalidInputError: The file is damaged, or nothing is stored.
        """
        return _record(path, _load(path)[1])[0]

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored; empty for a file of another tool.

        Raises:
            InvalidInputError: The file is damaged.
        """
        text = _load(path)[1]
        return _record(path, text)[1] if text else {}

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Store signature and metadata; the code is as it was.

        Raises:
            InvalidInputError: The file is damaged.
            OSError: It cannot be rewritten; it is as it was.
        """
        import torch

        module, _ = _load(path)
        aside = path.with_name(f".{path.name}.stamping")
        try:
            extra = {RECORD_NAME: write_record(signature, metadata)}
            with torch_file(aside) as stream:
                torch.jit.save(module, stream, _extra_files=extra)
            os.replace(aside, path)  # noqa: PTH105 - one call, atomic
        finally:
            aside.unlink(missing_ok=True)

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - the protocol's
        """Open in PyTorch, in this process; PyTorch's number of threads belongs to the process.

        Raises:
            InvalidInputError: PyTorch refuses the file.
            MissingDependencyError: PyTorch is not installed.
        """
        module, text = _load(path)
        return TorchSession(_record(path, text)[0], module)


def _load(path: Path) -> tuple[torch.jit.ScriptModule, str]:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "TorchScript needs PyTorch", why=str(error), hint="pip install 'edgeconv[torch]'"
        ) from error
    extra = {RECORD_NAME: ""}
    try:
        with (
            warnings.catch_warnings()
        ):  # that PyTorch prefers another format is no news for the user
            warnings.simplefilter("ignore", FutureWarning)
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact TorchScript file",
            why=str(error).strip().partition("\n")[0],
            hint="fetch or export it again",
        ) from error
    text = extra[RECORD_NAME]
    return module, text.decode() if isinstance(text, bytes) else text


def _record(path: Path, text: str) -> tuple[Signature, dict[str, str]]:
    try:
        return read_record(text)
    except ValueError as error:
        raise InvalidInputError(
            f"'{path}' does not say what goes in and out",
            why="it was not made by edgeconv, and TorchScript stores no shapes",
            hint="convert it first: edgeconv convert FILE --to torchscript --input NAME:DTYPE[DIMS]",
        ) from error


HANDLER = TorchScriptHandler()
