"""`edgeconv report`: reads the report of an earlier run, a conversion or a quantization."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeconv.cli.options import AsJson, Quiet, Verbose, read_path
from edgeconv.cli.screen import Screen
from edgeconv.errors import UsageError
from edgeconv.report.document import (
    check_page,
    read_as,
    read_report,
    report_schema,
    to_text,
    write_text,
)
from edgeconv.report.quantization_files import quantization_schema

if TYPE_CHECKING:
    from edgeconv.report.finding import FoundReport
    from edgeconv.report.model import Report

__all__ = ["html", "schema", "show"]

_SCHEMAS = {"conversion": report_schema, "quantization": quantization_schema}

ReportFile = Annotated[
    Path,
    typer.Argument(
        parser=read_path,
        metavar="REPORT",
        help="A report, the folder that holds it, or a quantized artifact that has one beside it.",
        show_default=False,
    ),
]
Kind = Annotated[
    str,
    typer.Argument(
        metavar="[conversion|quantization]", help="What is reported.", show_default=False
    ),
]
PageFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=read_path,
        metavar="FILE",
        help="Where the page goes; beside the report unless given.",
        show_default=False,
    ),
]


def show(
    report: ReportFile, *, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Print what the report of a conversion or of a quantization says."""
    from edgeconv.report.finding import find_report

    found = find_report(report)
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    read = _read_quantization if found.is_quantization else _read_conversion
    screen.show_json_text(*read(found.path))
    for other in found.others:
        screen.note(f"also there: {other}")


def _read_conversion(path: Path) -> tuple[str, str]:
    """The report of a conversion as JSON, and as people read it."""
    from edgeconv.cli.summary import list_problems, summarize
    from edgeconv.report.reading import all_warnings

    found = read_report(path)
    warnings = "\n".join(f"warning: {text}" for text in all_warnings(found))
    parts = (_title(found), summarize(found), warnings, list_problems(found))
    return to_text(found), "\n\n".join(filter(None, parts))


def _read_quantization(path: Path) -> tuple[str, str]:
    """The report of a quantization as JSON, and as people read it."""
    from edgeconv.cli.quantization_summary import describe_quantization
    from edgeconv.report.quantization import QuantizationReport, quantization_text

    found = read_as(QuantizationReport, path)
    return quantization_text(found), describe_quantization(found)


def html(
    report: ReportFile,
    *,
    output: PageFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw the page of a report again."""
    from edgeconv.report.finding import find_report

    found = find_report(report)
    path = output or found.page
    page = _draw(found)
    check_page(path)
    write_text(path, page)
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    screen.show({"path": str(path)}, str(path))


def _draw(found: FoundReport) -> str:
    if not found.is_quantization:
        from edgeconv.report.page import render_page

        return render_page(read_report(found.path))
    from edgeconv.report.quantization import QuantizationReport, render_quantization_page

    return render_quantization_page(read_as(QuantizationReport, found.path))


def schema(
    of: Kind = "conversion",
    *,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Print the JSON Schema of report.json, or of the report of a quantization."""
    if of not in _SCHEMAS:
        raise UsageError(
            f"there is no report of a '{of}'", hint=f"use one of: {', '.join(_SCHEMAS)}"
        )
    document = json.loads(_SCHEMAS[of]())
    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    screen.show(document, json.dumps(document, indent=2))


def _title(report: Report) -> str:
    return f"{report.name}, converted from {report.source.model} at {report.created}"
