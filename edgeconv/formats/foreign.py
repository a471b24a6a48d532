"""Recognizes files that are no models, so that an error can say what was given instead."""

from __future__ import annotations

from edgeconv.errors import InvalidInputError

__all__ = ["HEAD_BYTES", "foreign_file", "recognize_file"]

HEAD_BYTES = 512
"""How much of a file tells what it is."""

_MODELS = "give a .pt2, TorchScript, ONNX or TFLite file, a SavedModel folder, or a factory: file.py:function"
_WEIGHTS = "give the model as file.py:function and this file with --weights"
# First bytes, what such a file is, what to do about it.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _MODELS),
    (b"\xff\xd8\xff", "a JPEG image", _MODELS),
    (b"GIF8", "a GIF image", _MODELS),
    (b"%PDF-", "a PDF document", _MODELS),
    (b"\x7fELF", "a program or library", _MODELS),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"BZh", "compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as older Keras models are", "save it as a SavedModel"),
    (b"PK\x05\x06", "an empty zip archive", _MODELS),
    (b"\x93NUMPY", "a NumPy array", _MODELS),
    (b"\x80\x02", "a pickle, as older PyTorch checkpoints are", _WEIGHTS),
    (b"\x80\x04", "a pickle", _WEIGHTS),
    (b"\x80\x05", "a pickle", _WEIGHTS),
    (
        b"version https://git-lfs",
        "the pointer that Git LFS leaves in place of the file",
        "fetch the file itself: git lfs pull",
    ),
)
_PAGES = (b"<!doctype html", b"<html")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f")


def foreign_file(path: object, head: bytes) -> InvalidInputError:
    """The error for a file that is in no format known here.

    Args:
        path: The file, as the message is to name it.
        head: Its first bytes, `HEAD_BYTES` of them if it has so many.
    """
    kind, hint = recognize_file(head)
    return InvalidInputError(
        f"'{path}' is in no format that edgeconv knows", why=f"it is {kind}", hint=hint
    )


def recognize_file(head: bytes) -> tuple[str, str]:
    """What a file is that is no model, and what to do about it."""
    for start, kind, hint in _KINDS:
        if head.startswith(start):
            return kind, hint
    if head[8:10] == b'{"':  # the length of the header, then the header, which is JSON
        return "a safetensors file: weights without a model", _WEIGHTS
    text = head.lstrip().lower()
    if text.startswith(_PAGES):
        return "a web page", "the download gave a page in place of the file: fetch it again"
    if text.startswith((b"{", b"[")) and _is_text(head):
        return "a JSON text", _MODELS
    if _is_text(head):
        return "plain text", _MODELS
    return f"of an unknown kind: it begins with {head[:8].hex(' ')}", _MODELS


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # the last character may be cut in two
            return False
    return not any(byte < 32 and byte not in _TEXT_CONTROLS for byte in head)
