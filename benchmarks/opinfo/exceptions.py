"""The operators whose samples may fail, each with its reason: `exceptions.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.opinfo.formats import FORMATS
from benchmarks.opinfo.samples import Unit
from edgeconv.lowering.impossible import REASONS

__all__ = ["Exemption", "Witness", "find_exemption", "read_exemptions"]

_FILE = Path(__file__).with_name("exceptions.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A sample that shows why an operator is exempt."""

    unit: Unit
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """A reason for which samples of some operators fail.

    Attributes:
        reason: For people.
        says: Stands in the failure of every sample that is exempt for this reason.
        formats: Of the files that fail.
        witnesses: By operator.
    """

    reason: str
    says: str
    formats: tuple[str, ...]
    witnesses: dict[str, Witness]

    def covers(self, operator: str, format_id: str, failure: str) -> bool:
        """Whether it is the reason of a failure."""
        return operator in self.witnesses and format_id in self.formats and self.says in failure


def read_exemptions(path: Path = _FILE) -> list[Exemption]:
    """All of the file, whose `operators` name a witness each: its dtype and index."""
    return [
        Exemption(
            reason=REASONS[entry["refused"]] if "refused" in entry else entry["reason"],
            says=REASONS[entry["refused"]] if "refused" in entry else entry["says"],
            formats=tuple(entry.get("formats", FORMATS)),
            witnesses={name: _witness(name, text) for name, text in entry["operators"].items()},
        )
        for entry in tomllib.loads(path.read_text())["exceptions"]
    ]


def _witness(operator: str, text: str) -> Witness:
    dtype, index = text.split()
    return Witness(unit=(operator, dtype), index=int(index))


def find_exemption(
    exemptions: Sequence[Exemption], operator: str, format_id: str, failure: str
) -> Exemption | None:
    """The reason of a failure, if it is named."""
    found = (e for e in exemptions if e.covers(operator, format_id, failure))
    return next(found, None)
