"""The second file of an artifact: a protocol buffer ends at 2 GB, so the weights of a larger ONNX model stand beside it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SUFFIX", "companion", "files_of"]

SUFFIX = ".data"


def companion(path: Path) -> Path:
    """Where the second file of an artifact is, if it has one."""
    return path.with_name(f"{path.name}{SUFFIX}")


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of an artifact that is no folder: the second before the first, which is of no use without it."""
    second = companion(path)
    return (second, path) if second.is_file() else (path,)
