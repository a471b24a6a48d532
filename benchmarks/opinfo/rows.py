"""What became of samples, as the worker processes tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["Result", "Row"]


@dataclass(slots=True, kw_only=True)
class Row:
    """What became of a sample.

    Attributes:
        index: Of the sample.
        uncaptured: Why `torch.export` captures no program; empty where it does.
        core: How it belongs to Core ATen: `exported`, `decomposed`, or not.
        is_random: Whether dtypes and shapes alone can be compared.
        failures: By format, what went wrong; empty for a format that passed.
    """

    index: int
    uncaptured: str = ""
    core: str = ""
    is_random: bool = False
    failures: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of an operator with a dtype.

    Attributes:
        count: How many samples the database has.
        rows: Those that were judged.
        error: Why the database gives none.
    """

    count: int = 0
    rows: list[Row] = field(default_factory=list)
    error: str = ""

    @property
    def captured(self) -> list[Row]:
        """The samples that `torch.export` captures."""
        return [row for row in self.rows if not row.uncaptured]

    def to_json(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Result:
        """From what `to_json` gave."""
        rows = data["rows"]
        found = [Row(**row) for row in rows] if isinstance(rows, list) else []
        return cls(count=int(str(data["count"])), rows=found, error=str(data["error"]))
