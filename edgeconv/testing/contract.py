"""The contract of converters: what ours are tested for, and what the author of another should test theirs for.

>>> from edgeconv.plugin.registry import Registry
>>> from edgeconv.testing.contract import check_spec
>>> [problem for spec in Registry().converters for problem in check_spec(spec)]
[]
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

from edgeconv.errors import EdgeconvError, FailureKind, InternalError
from edgeconv.execute.runner import Lane, Runner, Task
from edgeconv.formats import find_format
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.job import Job

__all__ = ["check_refusal", "check_spec"]

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENTRY = re.compile(r"[\w.]+:\w+")
_LONGEST_SUMMARY = 100
_GARBAGE = b"\x00\x01 no model of any format \xff" * 16


def check_spec(spec: ConverterSpec) -> list[str]:
    """What is wrong with a declaration; nothing heavy is imported to find out."""
    return list(_problems(spec))


def _problems(spec: ConverterSpec) -> Iterator[str]:
    if not _ID.fullmatch(spec.id):
        yield f"id '{spec.id}' is not lower-case words joined by '-'"
    if not spec.version:
        yield "version is empty: the cache could not tell old results from new ones"
    yield from _format_problems(spec)
    if not spec.summary or "\n" in spec.summary or len(spec.summary) > _LONGEST_SUMMARY:
        yield f"summary is not one line of at most {_LONGEST_SUMMARY} characters"
    if not spec.lane:
        yield "lane is empty"
    yield from _entry_problems(spec)
    yield from _dependency_problems(spec)


def _format_problems(spec: ConverterSpec) -> Iterator[str]:
    for format_id in (spec.source, spec.target):
        try:
            find_format(format_id)
        except EdgeconvError as error:
            yield error.message
    if (spec.kind == "convert") == (spec.source == spec.target):
        yield f"kind '{spec.kind}' does not go with '{spec.source}' → '{spec.target}'"


def _dependency_problems(spec: ConverterSpec) -> Iterator[str]:
    if spec.requires and not spec.extra and spec.environment is None:
        yield "requires packages, but names no extra that installs them"
    extras = metadata("edgeconv").get_all("Provides-Extra") or []
    for extra in spec.extra.split(",") if spec.extra else ():
        if extra not in extras:
            yield f"extra '{extra}' is none of edgeconv's: {', '.join(extras)}"


def _entry_problems(spec: ConverterSpec) -> Iterator[str]:
    if not _ENTRY.fullmatch(spec.entry):
        yield f"entry '{spec.entry}' is not written 'module:function'"
        return
    module, _, function = spec.entry.partition(":")
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # not even the package is there
        found = None
    if found is None or found.origin is None:
        yield f"entry '{spec.entry}' names no module"
    elif not re.search(rf"^def {function}\(", Path(found.origin).read_text("utf-8"), re.MULTILINE):
        yield f"entry '{spec.entry}' names no function of its module"


def check_refusal(spec: ConverterSpec, runner: Runner, folder: Path) -> list[str]:
    """Give the converter a source that is nothing, in a worker: it must fail as a typed error and write no output.

    Args:
        spec: The converter; what it requires is installed, and its source is a file.
        runner: Runs the worker.
        folder: An empty folder.

    Returns:
        What it did wrong.
    """
    source = folder / f"source{find_format(spec.source).suffix}"
    source.write_bytes(_GARBAGE)
    job = Job(name="garbage", inputs={"source": source}, output=folder / "result")
    task = Task(title=f"'{spec.id}'", entry=spec.entry, request=job.to_json())
    try:
        runner.run(Lane(name=spec.lane), task).unwrap()
    except EdgeconvError as error:
        return [*_judge(error), *_leftovers(job.output)]
    return ["it took garbage for a model", *_leftovers(job.output)]


def _judge(error: EdgeconvError) -> Iterator[str]:
    kind = FailureKind(str(error.to_json()["failure_kind"]))
    if kind in (FailureKind.CRASHED, FailureKind.TIMED_OUT, FailureKind.OUT_OF_MEMORY):
        yield f"it {kind.value.replace('_', ' ')} on garbage: {error.message}"
    if isinstance(error, InternalError) or "Traceback" in str(error):
        yield f"it failed on garbage as by a bug: {error}"
    if kind == FailureKind.INTERNAL and error.code == "step" and error.details:
        yield f"it let an error of its tool through: {error.why}"


def _leftovers(output: Path) -> list[str]:
    return [f"it left '{output.name}' behind"] if output.exists() else []
