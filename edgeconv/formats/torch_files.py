"""Files that PyTorch writes archives into, on disks that may be full.

PyTorch's own writer ends the whole process when its file fails: it finishes the archive in a destructor, and throws
there (`caffe2/serialize/inline_container.cc`). Given a Python file that never fails, it comes to an end.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["torch_file"]


class _PatientFile(io.RawIOBase):
    """Takes everything; remembers the first error instead of raising it."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        super().__init__()
        self._stream = stream
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    def writable(self) -> bool:
        """It can be written."""
        return True

    def seekable(self) -> bool:
        """PyTorch insists on it, and only rewinds the file when it is done."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: ARG002 - the protocol's
        """Do nothing: no more is written."""
        return offset

    def write(self, data: Buffer) -> int:
        """Write, unless that failed before."""
        size = memoryview(data).nbytes
        if self._error is None:
            try:
                self._stream.write(data)
            except OSError as error:
                self._error = error
        return size


@contextmanager
def torch_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to give to `torch.export.save` or `torch.jit.save` in place of a path.

    Raises:
        OSError: It could not be written, when the context ends; nothing is left of it.
    """
    try:
        with path.open("wb") as stream:
            patient = _PatientFile(stream)
            yield cast("IO[bytes]", patient)
            patient.check()
    except BaseException:
        if path.is_file():  # and no device
            path.unlink()
        raise
