"""What is measured of each attempt, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

__all__ = ["FLOAT", "RECIPES", "Row", "Rows", "key_of", "read_rows", "write_rows"]

FLOAT = "float32"
RECIPES = ("fp16", "int8", "int16x8", "int8-dynamic", "int8-weights", "int4-weights")


class Row(BaseModel):
    """One model with one recipe by one tool, or one measurement of cost.

    Attributes:
        figure: On the held-out samples.
        drop: How much lower than the float file of the same format.
        snr_db: Of the first output against that of the float file.
        size_bytes: Of the file.
        seconds: Of the quantization, imports of the libraries included.
        peak_memory_bytes: Of all its processes together, where memory is what is measured.
        error: Why there is nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    figure: float | None = None
    drop: float | None = None
    snr_db: float | None = None
    size_bytes: int | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    error: str | None = None


Rows: TypeAlias = dict[str, Row]
"""By `key_of`."""


def key_of(case: str, recipe: str, tool: str) -> str:
    """The key of a row."""
    return f"{case} / {recipe} / {tool}"


def read_rows(path: Path) -> Rows:
    """The rows of an earlier run; none where there is no file."""
    if not path.exists():
        return {}
    return {key: Row.model_validate(row) for key, row in json.loads(path.read_text()).items()}


def write_rows(path: Path, rows: Mapping[str, Row]) -> None:
    """Keep the rows as JSON."""
    path.parent.mkdir(exist_ok=True)
    kept = {key: row.model_dump(exclude_none=True) for key, row in rows.items()}
    path.write_text(json.dumps(kept, indent=1) + "\n")
