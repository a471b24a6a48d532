"""What a table of results keeps of a tool's failure: the same words on every machine."""

from __future__ import annotations

import re

__all__ = ["describe_failure", "without_folders"]

_MOST = 300
# Folders of an absolute path, not those of a web address.
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[\w.+-]+/)+")


def describe_failure(status: int, errors: str) -> str:
    """The status of a process, and the last thing that it wrote to its error stream."""
    lines = [line for line in errors.splitlines() if line.strip()] or [""]
    return f"status {status}: {without_folders(lines[-1].strip())[:_MOST]}"


def without_folders(text: str) -> str:
    """A text whose absolute paths are names of files alone: where a tool lies differs from machine to machine."""
    return _FOLDERS.sub("", text)
