"""Reads and writes `report.json` and its schema."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgeconv.errors import InvalidInputError, OutputError, counted

if TYPE_CHECKING:
    from pydantic import BaseModel

    from edgeconv.report.model import Report

_Kind = TypeVar("_Kind", bound="BaseModel")

__all__ = [
    "PAGE_NAME",
    "REPORT_NAME",
    "SCHEMA_PATH",
    "check_page",
    "foreign_reports",
    "may_replace",
    "read_as",
    "read_report",
    "report_schema",
    "to_text",
    "write_text",
    "written_together",
]

REPORT_NAME, PAGE_NAME = "report.json", "report.html"
SCHEMA_PATH = Path(__file__).with_name("schema.json")
"""The published JSON Schema, generated from the models."""

_SHOWN_PROBLEMS = 10
_MAX_REPORT_BYTES = 256 * 2**20
_HEAD_BYTES = 4096
# What the beginning of a report of ours says, in each of its forms.
_MARKS = {REPORT_NAME: b'"edgeconv.report/', PAGE_NAME: b'name="generator" content="edgeconv'}


def to_text(report: Report) -> str:
    """The report as JSON text."""
    return report.model_dump_json(by_alias=True, indent=2) + "\n"


def report_schema() -> str:
    """The JSON Schema of reports as text, from the models."""
    from edgeconv.report.model import SCHEMA_ID, Report

    schema = Report.model_json_schema(by_alias=True, mode="serialization")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    return json.dumps({**dialect, **schema}, indent=2) + "\n"


def read_report(path: Path) -> Report:
    """Read a report, or the one in a folder.

    Raises:
        InvalidInputError: There is none, or it is damaged or of another kind or version.
    """
    from edgeconv.report.model import Report

    return read_as(Report, path / REPORT_NAME if path.is_dir() else path)


def read_as(kind: type[_Kind], path: Path) -> _Kind:
    """Read a file as a report of one kind.

    Raises:
        InvalidInputError: There is none, or it is damaged or of another kind or version.
    """
    from pydantic import ValidationError

    if path.exists() and (not path.is_file() or path.stat().st_size > _MAX_REPORT_BYTES):
        raise InvalidInputError(
            f"'{path}' cannot be read",
            why=f"it is no regular file of at most {_MAX_REPORT_BYTES // 2**20} MiB",
            hint="give a report, or the folder that was given with -o",
        )
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(
            f"'{path}' cannot be read",
            why=error.strerror or str(error),
            hint="give a report, or the folder that was given with -o",
        ) from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise InvalidInputError(
            f"'{path}' is no report of this version of edgeconv",
            why=f"what does not fit in it: {counted(len(problems), 'field')}",
            hint="make it again, with the command that made it",
            details=[_describe(item["loc"], item["msg"]) for item in problems[:_SHOWN_PROBLEMS]],
        ) from error


def foreign_reports(folder: Path) -> list[str]:
    """Names of files in a folder that a report would have to replace, and that are none of ours."""
    return [name for name, mark in _MARKS.items() if not may_replace(folder / name, mark)]


def check_page(path: Path) -> None:
    """Refuse to write a page over a file that is none.

    Raises:
        OutputError: Somebody else's file is there.
    """
    if not may_replace(path, _MARKS[PAGE_NAME]):
        raise OutputError(
            f"'{path}' is not replaced",
            why="it exists already, and edgeconv did not make it",
            hint="give another file with -o",
        )


def may_replace(path: Path, mark: bytes) -> bool:
    """Whether nothing is at a path, or a file of ours, which says a mark at its beginning."""
    if not path.exists() and not path.is_symlink():
        return True
    try:
        with path.open("rb") as stream:
            return not path.is_symlink() and mark in stream.read(_HEAD_BYTES)
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write a file aside, then move it into place; on failure what was there is as it was.

    Raises:
        OutputError: It cannot be written.
    """
    with written_together({path: text}):
        pass


@contextmanager
def written_together(texts: Mapping[Path, str]) -> Iterator[None]:
    """Files that are written aside before a block, and moved into place after it.

    Where there is no room for one, or the block fails, what was there is as it was.

    Args:
        texts: What each file is to hold.

    Raises:
        OutputError: One cannot be written.
    """
    asides = {
        path.with_name(f".edgeconv-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"): path
        for path in texts
    }
    try:
        for aside, path in asides.items():
            with _refused(path):
                aside.write_text(texts[path], encoding="utf-8")
        yield
        for aside, path in asides.items():
            with _refused(path):
                aside.replace(path)
    finally:
        for aside in asides:
            with suppress(OSError):
                aside.unlink()


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"'{path}' cannot be written",
            why=error.strerror or str(error),
            hint="choose another folder, or make room there",
        ) from error


def _describe(location: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, location)) or 'the document'}: {message}"
