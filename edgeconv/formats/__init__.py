"""The file formats edgeconv reads and writes: one table, one handler module per format.

The table is plain data and costs nothing to import. A handler (`FormatHandler`) knows how to read the
signature and the metadata of a file of its format, how to put names and metadata into it, and how to run it;
handlers import their framework inside their functions, and are themselves loaded on first use.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.formats.foreign import HEAD_BYTES, foreign_file

if TYPE_CHECKING:
    from edgeconv.formats.handler import FormatHandler

__all__ = ["FORMATS", "Format", "detect", "find_format", "load_handler"]


_NEWEST_PICKLE = b"\x05"
# What a pickle of a module begins with: protocol 2, and the class of what it holds.
_FIRST_CLASS = re.compile(rb"\x80\x02c([\w.]+)\n(\w+)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One node of the conversion graph.

    Attributes:
        id: Lower-case id, as users type it.
        title: As people write it.
        suffix: What `<name>` is followed by in an output folder.
        is_directory: Whether an artifact is a folder.
        is_delivered: Whether users may ask for it with `--to`.
        handler: `module:attribute` of its `FormatHandler`; empty for what is never a file.
    """

    id: str
    title: str
    suffix: str
    is_directory: bool = False
    is_delivered: bool = True
    handler: str = ""


FORMATS: tuple[Format, ...] = (
    Format(id="torch", title="PyTorch module", suffix="", is_delivered=False),
    Format(
        id="torch-export",
        title="PyTorch exported program",
        suffix=".pt2",
        handler="edgeconv.formats.torch_export:HANDLER",
    ),
    Format(
        id="torchscript",
        title="TorchScript",
        suffix=".torchscript.pt",
        handler="edgeconv.formats.torchscript:HANDLER",
    ),
    Format(
        id="edge-graph",
        title="edgeconv edge graph",
        suffix=".edge.safetensors",
        is_delivered=False,  # nothing runs it, so nothing could verify it
        handler="edgeconv.formats.edge_graph:HANDLER",
    ),
    Format(id="onnx", title="ONNX", suffix=".onnx", handler="edgeconv.formats.onnx:HANDLER"),
    Format(
        id="savedmodel",
        title="TensorFlow SavedModel",
        suffix=".savedmodel",
        is_directory=True,
        handler="edgeconv.formats.savedmodel:HANDLER",
    ),
    Format(
        id="keras",
        title="Keras model",
        suffix=".keras",
        is_delivered=False,
        handler="edgeconv.formats.keras:HANDLER",
    ),
    Format(
        id="tflite",
        title="TensorFlow Lite (LiteRT)",
        suffix=".tflite",
        handler="edgeconv.formats.tflite:HANDLER",
    ),
)


def find_format(format_id: str) -> Format:
    """The format with this id.

    Raises:
        UsageError: There is none; the error lists what there is.
    """
    for known in FORMATS:
        if known.id == format_id:
            return known
    choices = [known.id for known in FORMATS if known.is_delivered]
    close = difflib.get_close_matches(format_id.lower(), choices, n=1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    raise UsageError(
        f"unknown format '{format_id}'",
        why="no format has this id",
        hint=f"{meant}formats: {', '.join(choices)}",
    )


def load_handler(format_id: str) -> FormatHandler:
    """The handler of a format; its module is imported on first use.

    Raises:
        UsageError: The format is unknown or is never a file.
    """
    known = find_format(format_id)
    if not known.handler:
        raise UsageError(f"'{format_id}' is not a file format", why="it only lives in memory")
    module, _, attribute = known.handler.partition(":")
    return cast("FormatHandler", getattr(import_module(module), attribute))


def detect(path: Path) -> Format:
    """The format of the file or folder at `path`, told from its content, not from its name.

    Raises:
        InvalidInputError: Missing, empty, or in no format known here.
    """
    if not path.exists():
        raise InvalidInputError(
            f"'{path}' does not exist", hint="check the path; a factory is written file.py:function"
        )
    if path.is_dir():
        if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
            return find_format("savedmodel")
        raise InvalidInputError(
            f"'{path}' is a folder, not a model",
            why="it holds no saved_model.pb, which would make it a SavedModel",
            hint="name the model file inside it",
        )
    return find_format(_detect_file(path))


def _detect_file(path: Path) -> str:
    head = _read_head(path)
    if not head:
        raise InvalidInputError(f"'{path}' is empty", hint="download or export the file again")
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] == b"PK\x03\x04":
        return _detect_zip(path)
    if path.suffix == ".safetensors":
        return _detect_safetensors(path)
    if _looks_like_onnx(head):
        return "onnx"
    raise foreign_file(path, head)


def _read_head(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for
        raise InvalidInputError(f"'{path}' is no regular file", hint="copy it into a file first")
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidInputError(
            f"'{path}' cannot be read",
            why=error.strerror or str(error),
            hint="check its permissions",
        ) from error


def _looks_like_onnx(head: bytes) -> bool:
    # ModelProto: field 1 (ir_version, varint) comes first in every file that ONNX tools write.
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 0x40 and head[2] & 0x07 in (0, 2)


def _detect_zip(path: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise InvalidInputError(
            f"'{path}' is damaged",
            why="it begins as a zip archive, but its end is missing",
            hint="the file is truncated: fetch or export it again",
        ) from error
    if {"config.json", "metadata.json"} <= set(names):
        return "keras"
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "torch-export"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    if {"config.json", "metadata.json"} <= set(names):
        raise InvalidInputError(
            f"'{path}' is a Keras model",
            why="edgeconv does not read .keras files yet",
            hint="export it as a SavedModel: model.export(folder)",
        )
    if "data.pkl" in inner:
        _refuse_pickled_module(path, names)
        raise InvalidInputError(
            f"'{path}' is a PyTorch checkpoint without a model",
            why="it holds pickled weights, not the code that uses them",
            hint="give the model as file.py:function and this file with --weights",
        )
    raise InvalidInputError(
        f"'{path}' is a zip archive, but not a model",
        why="it is neither .pt2 nor TorchScript",
        hint="give a .pt2, TorchScript, ONNX or TFLite file",
    )


def _refuse_pickled_module(path: Path, names: Sequence[str]) -> None:
    """Say of what `torch.save(model, path)` left what it is: a module without the code of its classes."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        pickle = next(name for name in names if name.endswith("/data.pkl"))
        with archive.open(pickle) as stream:
            head = stream.read(HEAD_BYTES)
    first = _FIRST_CLASS.match(head)
    if first is None or b"_parameters" not in head:
        return
    module, kind = (part.decode("utf-8", "replace") for part in first.groups())
    raise InvalidInputError(
        f"'{path}' is a whole model that torch.save pickled",
        why=f"it names its class, '{module}.{kind}', but does not hold the code, and reading it runs code",
        hint="write a function that returns torch.load(FILE, weights_only=False), and give it as file.py:function",
    )


def _detect_safetensors(path: Path) -> str:
    from edgeconv.graph.file import is_edge_graph

    if is_edge_graph(path):
        return "edge-graph"
    raise InvalidInputError(
        f"'{path}' holds weights without a model",
        why="a safetensors file has no code",
        hint="give the model as file.py:function and this file with --weights",
    )
