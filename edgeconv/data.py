"""Data that models are verified with, in all forms users have it: read as batches of arrays by input name.

A file or folder, a mapping of arrays, or batches. In each, the first axis counts samples, and what is named after no
input (`label`) is left alone by whoever needs inputs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edgeconv.errors import InvalidInputError, OutputError, UsageError
from edgeconv.formats.foreign import HEAD_BYTES, recognize_file

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = [
    "Arrays",
    "Batch",
    "Data",
    "check_archive",
    "check_data",
    "map_array",
    "open_arrays",
    "read_batches",
    "write_batches",
]

Arrays: TypeAlias = "Mapping[str, Array]"
"""Arrays by input name."""

Batch: TypeAlias = "Arrays | tuple[Arrays, object]"
"""Arrays by input name, or these and labels."""

Data: TypeAlias = "str | Path | Arrays | Iterable[Batch] | Callable[[], Iterable[Batch]]"
"""A `.npz`; a folder of `.npy`, one file for each input; a mapping of arrays; batches, or a function that returns them."""

_HINT = "give a .npz, or a folder of .npy, with one array per input name"
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"))


def check_data(data: Data) -> None:
    """Look at the data without reading it.

    Raises:
        InvalidInputError: There is no file or folder where a path says.
        UsageError: It is nothing that data can be.
    """
    if isinstance(data, str | Path):
        if not str(data):
            raise UsageError("the path of the samples is an empty text", hint=_HINT)
        if not Path(data).exists():
            raise InvalidInputError(f"samples '{data}' do not exist", hint="check the path")
        if not (Path(data).is_file() or Path(data).is_dir()):
            raise InvalidInputError(f"samples '{data}' are no regular file", hint=_HINT)
    elif not isinstance(data, Mapping | Iterable) and not callable(data):
        raise UsageError(
            f"samples cannot be an object of type {type(data).__name__}",
            hint="give a path, a mapping from input name to array, or batches of such mappings",
        )


def read_batches(data: Data) -> Iterator[dict[str, Array]]:
    """The data batch by batch; a file or a mapping is one batch.

    Raises:
        InvalidInputError: Missing, empty, damaged, of another kind, or holding Python objects.
    """
    check_data(data)
    if isinstance(data, str | Path):
        yield from _read_path(Path(data))
        return
    if isinstance(data, Mapping):
        yield _as_arrays(data, "the samples")
        return
    for number, batch in enumerate(data() if callable(data) else data):
        yield _as_arrays(_inputs_of(batch, number), f"batch {number} of the samples")


def write_batches(data: Data, folder: Path, *, most: int) -> Path:
    """Put data where another process can read it.

    Args:
        data: In any form; a path is returned as it is.
        folder: Receives one file per batch; created if missing.
        most: How many batches are wanted at most.

    Raises:
        InvalidInputError: As `read_batches`.
        OutputError: They cannot be written.
    """
    import numpy as np

    if isinstance(data, str | Path):
        check_data(data)
        return Path(data).absolute()
    for number, batch in enumerate(islice(read_batches(data), most)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{number:06}.npz").open("wb") as stream:
                np.savez(stream, **batch)  # type: ignore[arg-type]  # the stub takes the keys for options
        except OSError as error:
            raise OutputError(
                f"the samples cannot be written to '{folder}'",
                why=error.strerror or str(error),
                hint="make room there, or set TMPDIR to another folder",
            ) from error
    if not folder.exists():
        raise InvalidInputError("the samples have no batch", hint="give at least one")
    return folder


def _inputs_of(batch: object, number: int) -> Arrays:
    """The arrays of a batch, without labels."""
    inputs = batch[0] if isinstance(batch, tuple) and len(batch) == 2 else batch
    if isinstance(inputs, Mapping):
        return inputs
    raise InvalidInputError(
        f"batch {number} of the samples is a {type(batch).__name__}",
        why="a batch is a mapping from input name to array, or (mapping, labels)",
        hint='yield {"image": array}',
    )


def _as_arrays(batch: Mapping[str, object], what: str) -> dict[str, Array]:
    import numpy as np

    arrays = {}
    for name, value in batch.items():
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"'{name}' in {what} is no array", why=str(error), hint="give NumPy arrays"
            ) from error
        if array.dtype == object:
            raise InvalidInputError(
                f"'{name}' in {what} is no array of numbers",
                why=f"it is a {type(value).__name__} of Python objects",
                hint="give NumPy arrays",
            )
        arrays[str(name)] = array
    if not arrays:
        raise InvalidInputError(f"{what} hold no arrays", hint="give one array per input name")
    return arrays


def _read_path(path: Path) -> Iterator[dict[str, Array]]:
    if not path.is_dir():
        yield _read_archive(path)
        return
    archives = sorted(path.glob("*.npz"))
    arrays = _map_arrays(path)
    if arrays:
        yield arrays
        return
    if not archives:
        is_images = any(item.suffix.lower() in _IMAGES for item in path.iterdir())
        raise InvalidInputError(
            f"the samples '{path}' hold no arrays",
            why="it is a folder of images, which are not decoded here" if is_images else "",
            hint=_HINT,
        )
    for archive in archives:
        yield _read_archive(archive)


def open_arrays(folder: Path) -> dict[str, Array]:
    """The `.npy` files of a folder by their names, mapped into memory instead of read.

    Raises:
        InvalidInputError: There is none, or one is damaged or holds Python objects.
    """
    arrays = _map_arrays(folder) if folder.is_dir() else {}
    if not arrays:
        raise InvalidInputError(f"'{folder}' holds no arrays", hint=_HINT)
    return arrays


def check_archive(path: Path) -> None:
    """Refuse what is no `.npz` by its first bytes.

    Raises:
        InvalidInputError: It is empty, unreadable or of another kind.
    """
    _check_kind(path, b"PK")


def _map_arrays(folder: Path) -> dict[str, Array]:
    return {file.stem: map_array(file) for file in sorted(folder.glob("*.npy"))}


def map_array(path: Path) -> Array:
    """A `.npy` file, mapped into memory instead of read.

    Raises:
        InvalidInputError: It is empty, damaged, of another kind, or holds Python objects.
    """
    import numpy as np

    _check_kind(path, b"\x93NUMPY")
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, _why(error)) from error
    array: Array = loaded
    return array


def _read_archive(path: Path) -> dict[str, Array]:
    import zlib
    from zipfile import BadZipFile

    import numpy as np

    _check_kind(path, b"PK")
    try:
        # NumPy leaves a file open that it fails to read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise _unreadable(path, _why(error)) from error
    if not arrays:
        raise InvalidInputError(f"the samples '{path}' hold no arrays", hint=_HINT)
    return arrays


def _check_kind(path: Path, start: bytes) -> None:
    """Refuse a file of another kind before NumPy takes it for a pickle."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    if not head:
        raise _unreadable(path, "it is empty")
    if head.startswith(start):
        return
    kind = recognize_file(head)[0]
    if head.startswith(b"\x93NUMPY"):
        kind = "a single array, which has no input names"
    raise _unreadable(path, f"it is {kind}")


def _why(error: Exception) -> str:
    text = str(error)
    if "allow_pickle" in text:
        return "it holds Python objects, which may run code when they are read"
    if "zip" in text.lower():
        return "it begins as a zip archive, but its end is missing"
    return text


def _unreadable(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(f"the samples '{path}' cannot be read", why=why, hint=_HINT)
