"""The contract of converters and quantizers: what ours are tested for, and what authors of others should test theirs for.

>>> from edgeconv.plugin.quantizers import QuantizerRegistry
>>> from edgeconv.plugin.registry import Registry
>>> from edgeconv.testing.contract import check_quantizer, check_spec
>>> [problem for spec in Registry().converters for problem in check_spec(spec)]
[]
>>> [problem for spec in QuantizerRegistry().quantizers for problem in check_quantizer(spec)]
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
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.quantization.recipes import find_recipe
from edgeconv.quantization.request import QuantizationRequest

__all__ = ["check_quantizer", "check_quantizer_refusal", "check_refusal", "check_spec"]

_QUANTIZING = "edgeconv.quantization.worker:quantize"

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENTRY = re.compile(r"[\w.]+:\w+")
_LONGEST_SUMMARY = 100
_GARBAGE = b"\x00\x01 no model of any format \xff" * 16


def check_spec(spec: ConverterSpec) -> list[str]:
    """What is wrong with a declaration; nothing heavy is imported to find out."""
    return list(_problems(spec))


def check_quantizer(spec: QuantizerSpec) -> list[str]:
    """What is wrong with the declaration of a quantizer; nothing heavy is imported to find out."""
    return [*_common_problems(spec), *_quantizer_problems(spec)]


def _problems(spec: ConverterSpec) -> Iterator[str]:
    yield from _common_problems(spec)
    yield from _format_problems(spec)
    if not spec.lane:
        yield "lane is empty"
    if spec.requires and not spec.extra and spec.environment is None:
        yield "requires packages, but names no extra that installs them"


def _common_problems(spec: ConverterSpec | QuantizerSpec) -> Iterator[str]:
    if not _ID.fullmatch(spec.id):
        yield f"id '{spec.id}' is not lower-case words joined by '-'"
    if not spec.version:
        yield "version is empty: the cache could not tell old results from new ones"
    if not spec.summary or "\n" in spec.summary or len(spec.summary) > _LONGEST_SUMMARY:
        yield f"summary is not one line of at most {_LONGEST_SUMMARY} characters"
    yield from _entry_problems(spec.entry)
    yield from _extra_problems(spec.extra)


def _quantizer_problems(spec: QuantizerSpec) -> Iterator[str]:
    try:
        find_format(spec.format)
    except EdgeconvError as error:
        yield error.message
    if not spec.recipes:
        yield "recipes are none"
    if len(set(spec.recipes)) < len(spec.recipes):
        yield "a recipe is named twice"
    for name in spec.recipes:
        try:
            find_recipe(name)
        except EdgeconvError as error:
            yield error.message
    if spec.requires and not spec.extra:
        yield "requires packages, but names no extra that installs them"


def _format_problems(spec: ConverterSpec) -> Iterator[str]:
    for format_id in (spec.source, spec.target):
        try:
            find_format(format_id)
        except EdgeconvError as error:
            yield error.message
    if (spec.kind == "convert") == (spec.source == spec.target):
        yield f"kind '{spec.kind}' does not go with '{spec.source}' → '{spec.target}'"


def _extra_problems(declared: str) -> Iterator[str]:
    extras = metadata("edgeconv").get_all("Provides-Extra") or []
    for extra in declared.split(",") if declared else ():
        if extra not in extras:
            yield f"extra '{extra}' is none of edgeconv's: {', '.join(extras)}"


def _entry_problems(entry: str) -> Iterator[str]:
    if not _ENTRY.fullmatch(entry):
        yield f"entry '{entry}' is not written 'module:function'"
        return
    module, _, function = entry.partition(":")
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # not even the package is there
        found = None
    if found is None or found.origin is None:
        yield f"entry '{entry}' names no module"
    elif not re.search(rf"^def {function}\(", Path(found.origin).read_text("utf-8"), re.MULTILINE):
        yield f"entry '{entry}' names no function of its module"


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
    return _feed(task, Lane(name=spec.lane), runner, job.output)


def check_quantizer_refusal(spec: QuantizerSpec, runner: Runner, folder: Path) -> list[str]:
    """Give the quantizer a file that is nothing, in a worker: it must fail as a typed error and write no output.

    Args:
        spec: The quantizer; what it requires is installed.
        runner: Runs the worker.
        folder: An empty folder.

    Returns:
        What it did wrong.
    """
    source = folder / f"source{find_format(spec.format).suffix}"
    source.write_bytes(_GARBAGE)
    request = QuantizationRequest(
        artifact=source,
        format=spec.format,
        entry=spec.entry,
        output=folder / "result",
        scratch=folder,
        recipe=spec.recipes[0],
        random_samples=True,
    )
    task = Task(title=f"'{spec.id}'", entry=_QUANTIZING, request=request.to_json())
    return _feed(task, Lane(name="quantize"), runner, request.output)


def _feed(task: Task, lane: Lane, runner: Runner, output: Path) -> list[str]:
    try:
        runner.run(lane, task).unwrap()
    except EdgeconvError as error:
        return [*_judge(error), *_leftovers(output)]
    return ["it took garbage for a model", *_leftovers(output)]


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
