"""`.npz` archives as data: unpacked piece by piece, and mapped into memory a few at a time."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

from edgeconv.data import check_archive, map_array
from edgeconv.errors import InvalidInputError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["Archives"]

_MOST_OPEN = 8
_PIECE = 1 << 20
_SUFFIX = ".npy"
# What zipfile raises for a damaged archive, an encrypted one, and a compression that it does not know.
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError)


class Archives(Sequence["Mapping[str, Array]"]):
    """The arrays of each archive by name; every one is opened when it is asked for, since a mapped file stays open.

    Args:
        paths: The archives.
        scratch: Where they are unpacked.
    """

    def __init__(self, paths: Sequence[Path], scratch: Path) -> None:
        self._paths = paths
        self._scratch = scratch
        self._files: dict[int, dict[str, Path]] = {}
        self._open: dict[int, Mapping[str, Array]] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Array]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Array]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> Mapping[str, Array] | Sequence[Mapping[str, Array]]:
        """The arrays of one archive, or of several.

        Raises:
            InvalidInputError: An archive is empty, damaged, of another kind, or holds Python objects.
            OutputError: It cannot be unpacked.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self._open:
            if index not in self._files:
                self._files[index] = _unpack(self._paths[index], self._scratch / f"{index:06}")
            while len(self._open) >= _MOST_OPEN:
                del self._open[next(iter(self._open))]
            files = self._files[index]
            archive = self._paths[index]
            self._open[index] = {n: _map(path, archive, n) for n, path in files.items()}
        return self._open[index]


def _map(path: Path, archive: Path, name: str) -> Array:
    """An array that was unpacked, called in messages what the user knows.

    Raises:
        InvalidInputError: It is damaged, or holds Python objects.
    """
    try:
        return map_array(path)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"'{name}' in '{archive}' cannot be read", why=error.why, hint=error.hint
        ) from error


def _unpack(archive: Path, folder: Path) -> dict[str, Path]:
    """The arrays of an archive as files, by name.

    The archive may be anyone's: its names never become paths.
    """
    check_archive(archive)
    files: dict[str, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as opened:
            members = [one for one in opened.infolist() if one.filename.endswith(_SUFFIX)]
            for number, member in enumerate(members):
                target = folder / f"{number:04}{_SUFFIX}"
                with opened.open(member) as source, target.open("wb") as written:
                    shutil.copyfileobj(source, written, _PIECE)
                files[member.filename.removesuffix(_SUFFIX)] = target
    except _DAMAGES as error:
        raise InvalidInputError(
            f"'{archive}' cannot be read",
            why=str(error),
            hint="give a .npz, or a folder of .npy, with one array per input name",
        ) from error
    except OSError as error:
        raise OutputError(
            f"'{archive}' cannot be unpacked to '{folder}'",
            why=error.strerror or str(error),
            hint="make room there, or set EDGECONV_CACHE_DIR to another folder",
        ) from error
    return files
