"""What a tool said before it ended: its last lines, and where it was, without the stack dumps in between."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["last_words"]

_MAX_LINES = 12
_HEADS = ("Traceback (most recent call last):", "Fatal Python error:", "Extension modules:")
_THREAD = re.compile(r"(Current thread|Thread) 0x[0-9a-f]+ .*\(most recent call first\):")
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+),? in (?P<name>.+)')
_INSTALLED = re.compile(r"/lib/python[0-9.]+/|/edgeconv/execute/|^<")


def last_words(log: str) -> list[str]:
    r"""The last lines of a log, without tracebacks; the place where the process died first, if the log tells it.

    >>> dump = 'Current thread 0x1f (most recent call first):\n  File "net.py", line 7 in build'
    >>> last_words(f"loading\n{dump}")
    ['at net.py:7 in build', 'loading']
    """
    lines = log.splitlines()
    kept = [line for line in _outside_dumps(lines) if line.strip()][-_MAX_LINES:]
    place = _place_of_death(lines)
    return [place, *kept] if place else kept


def _outside_dumps(lines: list[str]) -> Iterator[str]:
    is_inside = False
    for line in lines:
        if line.startswith(_HEADS) or _THREAD.match(line):
            is_inside = True
        elif is_inside and (line.startswith("  ") or not line.strip()):
            continue
        else:
            is_inside = False
            yield line


def _place_of_death(lines: list[str]) -> str:
    """The innermost frame of the thread that died, the user's own before those of packages."""
    starts = [number for number, line in enumerate(lines) if line.startswith("Current thread")]
    if not starts:
        return ""
    frames = []
    for line in lines[starts[-1] + 1 :]:
        match = _FRAME.match(line)
        if match is None:
            break
        frames.append(match)
    own = [frame for frame in frames if not _INSTALLED.search(frame["file"])]
    return "".join(f"at {f['file']}:{f['line']} in {f['name']}" for f in (own or frames)[:1])
