"""Tells what edgeconv made from what is somebody else's: nothing else in an output folder may be replaced."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

from edgeconv.artifact import digest_path

__all__ = ["is_our_rejection", "is_our_reproduction", "is_ours"]

_REPORT = "report.json"
_OWN_REPORT, _QUANTIZATION = ".report.json", "edgeconv.quantization/"
# Every artifact holds a record that names this, as plain bytes in each format.
_MARK = b'"edgeconv_version"'
_RECORD = Path("assets.extra") / "edgeconv.json"


def is_ours(path: Path) -> bool:
    """Whether edgeconv made the artifact at a path: it carries our record, or an earlier report lists it as it is.

    An empty folder is nobody's, and counts as ours.
    """
    try:
        if path.is_symlink():
            return False
        return _carries_record(path) or _is_reported(path) or _is_quantized(path)
    except (OSError, ValueError):
        return False


def is_our_rejection(reason: Path) -> bool:
    """Whether a file is the reason that edgeconv left beside an artifact it rejected."""
    return _holds(reason, {"format", "route", "reason", "verdict"})


def is_our_reproduction(folder: Path) -> bool:
    """Whether edgeconv made the folder of a bug report at a path."""
    return _holds(folder / "failure.json", {"format", "route", "operators", "error"})


def _holds(path: Path, keys: set[str]) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.keys() >= keys


def _carries_record(path: Path) -> bool:
    if path.is_dir():
        record = path / _RECORD
        return record.is_file() or not any(path.iterdir())
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(_MARK) >= 0


def _is_quantized(path: Path) -> bool:
    """Whether the report of a quantization is about this very file: made of a foreign one, it carries no record."""
    report = path.with_name(f"{path.name}{_OWN_REPORT}")
    if path.is_dir() or not report.is_file():
        return False
    told = json.loads(report.read_text(encoding="utf-8"))
    is_report = isinstance(told, dict) and str(told.get("schema")).startswith(_QUANTIZATION)
    return is_report and told.get("sha256") == digest_path(path)


def _is_reported(path: Path) -> bool:
    report = path.with_name(_REPORT)
    if not report.is_file():
        return False
    try:
        listed = json.loads(report.read_text(encoding="utf-8"))["artifacts"]
        digests = {item["path"]: item["sha256"] for item in listed}
    except (KeyError, TypeError):  # somebody else's
        return False
    return path.name in digests and digests[path.name] == digest_path(path)
