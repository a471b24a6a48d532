"""Makes sure that reading an exported program (`.pt2`) runs nothing but PyTorch.

`torch.export.load` trusts its file. It unpickles example inputs, and weights and constants of old or unusual kinds,
without restriction; it loads shared libraries that AOTInductor compiled; SymPy evaluates the expressions of sizes as
Python code; guards and the names of values become the source text of a function; and an operator may be any
attribute of `torch`. So everything that could become code is held against what torch.export itself writes there:
names are names, expressions are arithmetic, operators are operators, pickles hold tensors.

What is checked is read with PyTorch's own reader of archives, so that PyTorch cannot find something else there.
Read for it: torch/export/pt2_archive/_package.py, torch/_export/serde/serialize.py, torch/export/_unlift.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.errors import InvalidInputError, UnsafeInputError
from edgeconv.formats.pickles import find_foreign_imports
from edgeconv.formats.program_text import find_code

if TYPE_CHECKING:
    import torch

__all__ = ["check_program"]

_MODEL = "models/model.json"
_PAYLOADS = {
    "data/weights/": "data/weights/model_weights_config.json",
    "data/constants/": "data/constants/model_constants_config.json",
}
_TENSORS = ("data/weights/model.pt", "data/constants/model.pt", "data/sample_inputs/model.pt")
_LIBRARIES = "data/aotinductor/"
# Objects of C++ classes, and of Python classes: both are pickles of whatever they like.
_OBJECTS = ("custom_obj_", "opaque_obj_")
_MAX_SHOWN = 20


def check_program(path: Path) -> None:
    """Refuse a program that would run code when it is read, or when it is called.

    Raises:
        InvalidInputError: The archive is damaged, is of an older kind, or holds several programs.
        UnsafeInputError: It would run code; nothing of it ran.
    """
    import torch

    try:
        reader = torch._C.PyTorchFileReader(str(path))  # noqa: SLF001 - what torch.export reads with
        found = list(_find_all(reader))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact exported program",
            why=str(error).strip().partition("\n")[0],
            hint="export it again, with torch.export.save of PyTorch 2.8 or later",
        ) from error
    if found:
        raise UnsafeInputError(
            f"'{path}' would run code when read",
            why="it holds what torch.export does not write for a model",
            details=found[:_MAX_SHOWN],
            hint="export the model again, or pass --trust if you trust the file to run code",
        )


def _find_all(reader: torch._C.PyTorchFileReader) -> Iterator[str]:
    names = set(reader.get_all_records())
    programs = sorted(name for name in names if name.startswith("models/"))
    if programs != [_MODEL]:
        raise ValueError(f"it holds {programs or 'nothing'} where its program should be")
    yield from _find_members(reader, names)
    yield from find_code(json.loads(reader.get_record(_MODEL)))


def _find_members(reader: torch._C.PyTorchFileReader, names: set[str]) -> Iterator[str]:
    """Members of the archive that hold code, or pickles of more than tensors."""
    yield from (
        f"'{name}' is compiled code" for name in sorted(names) if name.startswith(_LIBRARIES)
    )
    pickles = [name for name in _TENSORS if name in names]
    for folder, config in _PAYLOADS.items():
        if config not in names:
            continue
        for payload in _payloads(json.loads(reader.get_record(config))):
            name = str(payload["path_name"])
            if name.startswith(_OBJECTS):
                yield f"'{folder}{name}' is a pickled object"
            elif payload["use_pickle"]:
                pickles.append(f"{folder}{name}")
            elif not reader.get_record_size(f"{folder}{name}") and not _is_empty(payload):
                raise ValueError(f"'{folder}{name}' is empty")  # PyTorch would take it for zeros
    for name in pickles:
        yield from _find_pickled(name, reader.get_record(name))


def _payloads(config: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield from cast("Mapping[str, Mapping[str, object]]", config["config"]).values()


def _is_empty(payload: Mapping[str, object]) -> bool:
    meta = cast("Mapping[str, list[Mapping[str, int]]]", payload["tensor_meta"])
    return any(size.get("as_int") == 0 for size in meta["sizes"])


def _find_pickled(name: str, content: bytes) -> Iterator[str]:
    """Why a member may not be unpickled: torch.export tries it safely first, but unsafely where that fails."""
    import torch

    if not content:
        return
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, torch.export would go on unsafely
        imports = _imports_of(content)
        reason = f"imports {', '.join(imports)}" if imports else str(error).partition("\n")[0]
        yield f"'{name}' is a pickle that is more than tensors: {reason}"


def _imports_of(content: bytes) -> list[str]:
    import zipfile

    stream = io.BytesIO(content)
    try:
        if not zipfile.is_zipfile(stream):
            return find_foreign_imports(io.BytesIO(content))
        with zipfile.ZipFile(stream) as archive:
            member = next(n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl")
            return find_foreign_imports(io.BytesIO(archive.read(member)))
    except (ValueError, StopIteration, zipfile.BadZipFile):
        return []
