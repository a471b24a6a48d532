"""Writes TFLite files without a second copy of the weights.

Flatbuffers are built back to front in memory. Here only the small part is: the tables, with every weight left out.
The weights follow it in the file, written straight from where they are, and each buffer's offset is set to where
its weights came to stand, which is what a flatbuffer offset is for. Layout: https://flatbuffers.dev/internals
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "ALIGNMENT_BYTES",
    "FILE_IDENTIFIER",
    "LARGEST_FLATBUFFER",
    "METADATA_NAME",
    "StoredBuffer",
    "exceeds",
    "pack_offsets",
    "write_tflite",
]

FILE_IDENTIFIER = b"TFL3"
METADATA_NAME = "edgeconv"
ALIGNMENT_BYTES = 16
LARGEST_FLATBUFFER = 2**31 - 2**20
"""A file with more bytes keeps its weights behind the flatbuffer, whose offsets end at 2 GB."""

_PLACEHOLDER = 2


def pack_offsets(builder: Any, offsets: Sequence[int]) -> int:  # noqa: ANN401 - untyped library
    """A vector of tables, which were packed before; where it stands."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


class StoredBuffer:
    """The bytes of one tensor or metadata entry, to be written behind the tables.

    It takes the place of the schema's `BufferT`, which would copy them into the tables.

    Args:
        data: The bytes, in any shape and dtype; None for a buffer without content.
    """

    def __init__(self, data: NDArray[np.generic] | None = None) -> None:
        self.data = data
        self.is_outside = False
        self._slots: list[int] = []

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return 0 if self.data is None else self.data.nbytes

    def Pack(self, builder: Any) -> int:  # noqa: N802, ANN401 - the name that the schema's tables call; the library is untyped
        """Append the buffer's table, its offset still open.

        Args:
            builder: A `flatbuffers.Builder`.
        """
        from ai_edge_litert import schema_py_generated as schema

        nothing = builder.CreateByteVector(b"") if self.size_bytes and not self.is_outside else 0
        schema.BufferStart(builder)
        self._slots = []
        if self.size_bytes and self.is_outside:
            schema.BufferAddOffset(builder, _PLACEHOLDER)
            self._slots.append(builder.Offset())
            schema.BufferAddSize(builder, self.size_bytes)
        elif self.size_bytes:
            schema.BufferAddData(builder, nothing)
            self._slots.append(builder.Offset())
        return int(schema.BufferEnd(builder))

    def place(self, head: bytearray, tables_bytes: int, start: int) -> None:
        """Set the offset: the content begins at `start` bytes from the beginning of the file."""
        for distance in self._slots:
            slot = tables_bytes - distance
            if self.is_outside:
                struct.pack_into("<Q", head, slot, start)
            else:
                struct.pack_into("<I", head, slot, start - 4 - slot)

    def content(self) -> memoryview:
        """The bytes; made contiguous if they are not."""
        import numpy as np

        if self.data is None:
            return memoryview(b"")
        flat = np.ascontiguousarray(self.data).reshape(-1)
        return memoryview(flat.view(np.uint8))  # type: ignore[arg-type]  # the stub hides the buffer


def exceeds(buffers: Sequence[StoredBuffer], largest_flatbuffer: int = LARGEST_FLATBUFFER) -> bool:
    """Whether buffers are too large to stand inside of a flatbuffer."""
    sizes = (buffer.size_bytes + 2 * ALIGNMENT_BYTES for buffer in buffers)
    return sum(sizes) > largest_flatbuffer


def write_tflite(
    path: Path,
    pack: Callable[[Any], int],
    buffers: Sequence[StoredBuffer],
    *,
    largest_flatbuffer: int = LARGEST_FLATBUFFER,
) -> None:
    """Write a TFLite file.

    Args:
        path: Where to; what is there is overwritten.
        pack: Appends the model's tables to a `flatbuffers.Builder` and gives the root's position.
        buffers: The buffers that `pack` packs; all of them, since where they stand depends on their sizes.
        largest_flatbuffer: A file with more bytes keeps its weights outside of the flatbuffer, where only
            runtimes from 2.15 on find them.

    Raises:
        OSError: The file cannot be written; what was written of it stays for the caller to remove.
    """
    import flatbuffers

    is_large, count = exceeds(buffers, largest_flatbuffer), len(buffers)
    for buffer in buffers:
        buffer.is_outside = is_large
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(pack(builder), file_identifier=FILE_IDENTIFIER)
    if len(buffers) != count:
        raise ValueError(f"{len(buffers) - count} buffers were added while the file was packed")
    head = bytearray(builder.Output())
    tables_bytes = len(head)
    position = tables_bytes
    stored = [buffer for buffer in buffers if buffer.size_bytes]
    paddings: list[int] = []
    for buffer in stored:
        # The length of the content stands in the four bytes before it.
        padding = -(position + 4) % ALIGNMENT_BYTES
        paddings.append(padding)
        start = position + padding + 4
        buffer.place(head, tables_bytes, start)
        position = start + buffer.size_bytes
    with path.open("wb") as stream:
        stream.write(head)
        for buffer, padding in zip(stored, paddings, strict=True):
            length = 0 if buffer.is_outside else buffer.size_bytes
            stream.write(b"\0" * padding + struct.pack("<I", length))
            stream.write(buffer.content())
