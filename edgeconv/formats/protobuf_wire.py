"""The bytes of a protocol buffer, field by field, for what must not be parsed as a whole.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TypeAlias

__all__ = ["LENGTH", "Field", "encode_field", "encode_head", "encode_message", "read_fields"]

LENGTH = 2
"""The kind of fields that begin with their size: texts, bytes, messages."""

_VARINT, _FIXED64, _FIXED32 = 0, 1, 5

Field: TypeAlias = "tuple[int, int, int, int]"
"""Number, kind, start and end of the value."""


def read_fields(
    content: bytes | mmap.mmap, start: int, end: int, *, should_include_head: bool = False
) -> Iterator[Field]:
    """Number, kind, start and end of the value of each field of a message.

    Raises:
        ValueError: A field ends behind the message, or is of no known kind.
    """
    position = start
    while position < end:
        head = position
        key, position = _varint(content, position, end)
        number, kind = key >> 3, key & 7
        if kind == LENGTH:
            size, position = _varint(content, position, end)
        elif kind == _VARINT:
            size = _varint(content, position, end)[1] - position
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind} at byte {head}")
        if position + size > end:
            raise ValueError(f"it ends within field {number} at byte {head}")
        yield number, kind, head if should_include_head else position, position + size
        position += size


def _varint(content: bytes | mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise ValueError(f"it ends within a number at byte {position}")


def encode_field(content: bytes | mmap.mmap, number: int, kind: int, start: int, end: int) -> bytes:
    """A field as it stands in `content`."""
    value = bytes(content[start:end])
    return (
        encode_message(number, value)
        if kind == LENGTH
        else _encode_number(number << 3 | kind) + value
    )


def encode_message(number: int, value: bytes) -> bytes:
    """A field of bytes or of a message."""
    return encode_head(number, len(value)) + value


def encode_head(number: int, size: int) -> bytes:
    """What stands before the bytes of such a field."""
    return _encode_number(number << 3 | LENGTH) + _encode_number(size)


def _encode_number(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
