"""The files that a quantization leaves beside its artifact, and what they are told by: nobody else's is replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from edgeconv.errors import OutputError
from edgeconv.report.document import may_replace

__all__ = [
    "PAGE_SUFFIX",
    "QUANTIZATION_SCHEMA_PATH",
    "RECIPE_ID",
    "RECIPE_SUFFIX",
    "REPORT_SUFFIX",
    "check_reports",
    "forget_reports",
    "quantization_schema",
]

REPORT_SUFFIX, PAGE_SUFFIX, RECIPE_SUFFIX = ".report.json", ".report.html", ".recipe.json"
"""What follows the artifact's name in that of its report, the page, and the recipe that makes it again."""

RECIPE_ID: Final = "edgeconv.recipe/1"
"""What a recipe says it is, under `schema`."""

QUANTIZATION_SCHEMA_PATH = Path(__file__).with_name("quantization.schema.json")
"""The published JSON Schema of reports, generated from the models."""

# What the beginning of a file of ours says.
_MARKS = {
    REPORT_SUFFIX: b'"edgeconv.quantization/',
    PAGE_SUFFIX: b'name="generator" content="edgeconv',
    RECIPE_SUFFIX: b'"edgeconv.recipe/',
}


def check_reports(folder: Path, file_name: str) -> None:
    """Refuse to write reports over files that are none.

    Args:
        folder: Where they would be written.
        file_name: Of the artifact they are about.

    Raises:
        OutputError: Somebody else's file is there.
    """
    foreign = [
        name
        for suffix, mark in _MARKS.items()
        if not may_replace(folder / (name := f"{file_name}{suffix}"), mark)
    ]
    if foreign:
        raise OutputError(
            f"'{folder}' holds files that edgeconv did not make",
            why="it would have to replace them",
            hint="move them away, or choose another folder with -o, or another --name",
            details=[f"'{name}' exists already" for name in foreign],
        )


def forget_reports(folder: Path, file_name: str) -> None:
    """Remove what an earlier run told of an artifact, where it is ours."""
    for suffix, mark in _MARKS.items():
        path = folder / f"{file_name}{suffix}"
        if may_replace(path, mark):
            path.unlink(missing_ok=True)


def quantization_schema() -> str:
    """The JSON Schema of reports of quantizations as text, from the models."""
    from edgeconv.report.quantization import QUANTIZATION_SCHEMA_ID, QuantizationReport

    schema = QuantizationReport.model_json_schema(by_alias=True, mode="serialization")
    dialect = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": QUANTIZATION_SCHEMA_ID,
    }
    return json.dumps({**dialect, **schema}, indent=2) + "\n"
