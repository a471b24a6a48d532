"""TorchScript files: the record that edgeconv keeps beside the code, and running them in PyTorch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import InvalidInputError, MissingDependencyError, counted
from edgeconv.formats.handler import Session
from edgeconv.formats.record import RECORD_NAME, read_record, write_record
from edgeconv.formats.script_check import check_script
from edgeconv.formats.torch_archive import check_archive
from edgeconv.formats.torch_files import torch_file
from edgeconv.formats.torch_session import TorchSession
from edgeconv.signature import Signature

if TYPE_CHECKING:
    import torch

__all__ = ["HANDLER", "TorchScriptHandler", "load_script", "save_script"]


class TorchScriptHandler:
    """Reads, labels and runs TorchScript files."""

    def read_signature(self, path: Path) -> Signature:
        """The signature that edgeconv stored, where the code has the same inputs and as many outputs.

        TorchScript itself knows no dtypes and shapes: what it returns is found out by running it.

        Raises:
            InvalidInputError: The file is damaged, nothing is stored, or the code is not what was stored.
        """
        module, text = load_script(path)
        return _signature(path, module, text)

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored; empty for a file of another tool.

        Raises:
            InvalidInputError: The file is damaged.
        """
        text = load_script(path)[1]
        return _record(path, text)[1] if text else {}

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Store signature and metadata; the code is as it was.

        Raises:
            InvalidInputError: The file is damaged.
            OSError: It cannot be rewritten; it is as it was.
        """
        module, _ = load_script(path)
        aside = path.with_name(f".{path.name}.stamping")
        try:
            save_script(module, aside, signature, metadata)
            os.replace(aside, path)  # noqa: PTH105 - one call, atomic
        finally:
            aside.unlink(missing_ok=True)

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - the protocol's
        """Open in PyTorch, in this process; PyTorch's number of threads belongs to the process.

        Raises:
            InvalidInputError: PyTorch refuses the file.
            MissingDependencyError: PyTorch is not installed.
        """
        module, text = load_script(path)
        return TorchSession(_signature(path, module, text), module)


def load_script(path: Path, *, is_trusted: bool = False) -> tuple[torch.jit.ScriptModule, str]:
    """Read a TorchScript file.

    Args:
        path: The file.
        is_trusted: Whether its code may open files.

    Returns:
        The module, and the text of edgeconv's record; empty for a file of another tool.

    Raises:
        InvalidInputError: It is damaged.
        UnsafeInputError: Its code opens files, or its pickles import Python objects; nothing of it ran.
        MissingDependencyError: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "TorchScript needs PyTorch", why=str(error), hint="pip install 'edgeconv[torch]'"
        ) from error
    check_archive(path)
    if not is_trusted:
        check_script(path)
    extra = {RECORD_NAME: ""}
    try:
        with _without_advice():
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact TorchScript file",
            why=str(error).strip().partition("\n")[0],
            hint="fetch or export it again",
        ) from error
    text = extra[RECORD_NAME]
    return module, text.decode() if isinstance(text, bytes) else text


def save_script(
    module: torch.jit.ScriptModule, path: Path, signature: Signature, metadata: Mapping[str, str]
) -> None:
    """Write a TorchScript file with edgeconv's record in it.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    import torch

    extra = {RECORD_NAME: write_record(signature, metadata)}
    with _without_advice(), torch_file(path) as stream:
        torch.jit.save(module, stream, _extra_files=extra)


@contextmanager
def _without_advice() -> Iterator[None]:
    """PyTorch advises to use another format, which is not for the user of edgeconv."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _signature(path: Path, module: torch.jit.ScriptModule, text: str) -> Signature:
    stored = _record(path, text)[0]
    schema = module.forward.schema  # type: ignore[attr-defined]
    inputs = [argument.name for argument in schema.arguments[1:]]
    names = [spec.name for spec in stored.inputs]
    problems = [f"it takes {inputs}, not {names}"] if inputs != names else []
    outputs = _count_outputs(schema.returns[0].type)
    if outputs is not None and outputs != len(stored.outputs):
        problems.append(f"it gives {counted(outputs, 'output')}, not {len(stored.outputs)}")
    if problems:
        raise InvalidInputError(
            f"'{path}' is not what its record says", why="its code was changed", details=problems
        )
    return stored


def _count_outputs(returned: object) -> int | None:
    """How many tensors `forward` returns; None where its type does not say."""
    import torch

    if isinstance(returned, torch.TensorType):
        return 1
    if not isinstance(returned, torch.TupleType):
        return None
    elements = returned.elements()
    return len(elements) if all(isinstance(e, torch.TensorType) for e in elements) else None


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
