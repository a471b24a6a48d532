"""Which report is meant by a path: the report itself, the folder that holds it, or the artifact that it is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.report.document import PAGE_NAME, REPORT_NAME
from edgeconv.report.quantization_files import PAGE_SUFFIX, REPORT_SUFFIX

__all__ = ["FoundReport", "find_report"]

_QUANTIZATION = "edgeconv.quantization/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReport:
    """The report that a path names.

    Attributes:
        path: The JSON file; it need not exist, or be intact.
        is_quantization: Whether it is that of a quantization; else it is that of a conversion.
        others: Reports that lie in the same folder, if a folder was named.
    """

    path: Path
    is_quantization: bool
    others: tuple[Path, ...] = ()

    @property
    def page(self) -> Path:
        """Where the page of this report goes."""
        if not self.is_quantization:
            return self.path.with_name(PAGE_NAME)
        return self.path.with_name(f"{self.path.name.removesuffix(REPORT_SUFFIX)}{PAGE_SUFFIX}")


def find_report(path: Path) -> FoundReport:
    """The report that a path names.

    Of a folder it is `report.json`, or the only report of a quantization; of an artifact the one beside it that has its name, or
    that of the conversion.

    Raises:
        UsageError: A folder holds several reports of quantizations, and none of a conversion.
    """
    if path.is_dir():
        return _in_folder(path)
    if path.suffix != ".json" and path.exists():
        beside = path.with_name(f"{path.name}{REPORT_SUFFIX}")
        main = path.with_name(REPORT_NAME)
        if beside.is_file() or main.is_file():
            is_own = beside.is_file()
            return FoundReport(path=beside if is_own else main, is_quantization=is_own)
    return FoundReport(path=path, is_quantization=_is_quantization(path))


def _in_folder(folder: Path) -> FoundReport:
    found = tuple(item for item in sorted(folder.glob(f"*{REPORT_SUFFIX}")) if item.is_file())
    main = folder / REPORT_NAME
    if main.exists() or not found:
        return FoundReport(path=main, is_quantization=False, others=found)
    if len(found) > 1:
        raise UsageError(
            f"'{folder}' holds {len(found)} reports",
            hint="give one of them",
            details=[str(item) for item in found],
        )
    return FoundReport(path=found[0], is_quantization=True)


def _is_quantization(path: Path) -> bool:
    """Whether a file says so of itself; what cannot be read is left to who reads it."""
    try:
        document = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError):
        return False
    named = document.get("schema") if isinstance(document, dict) else None
    return isinstance(named, str) and named.startswith(_QUANTIZATION)
