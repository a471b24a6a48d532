"""Says in the user's words why `torch.export` refused a model: which dim, which source line, what to do."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

import edgeconv
import edgeconv_converters
from edgeconv.errors import CaptureError
from edgeconv.signature import Dim

__all__ = [
    "Frame",
    "SizeLines",
    "constant_refusal",
    "equality_refusal",
    "explain_refusal",
    "explain_violation",
    "is_violation",
    "model_lines",
    "named_frames",
    "range_refusal",
    "script_refusal",
    "stack_frames",
    "torch_dim_name",
    "user_lines",
]

Frame: TypeAlias = tuple[str, int, str]
"""File, line number and code."""

SizeLines: TypeAlias = Callable[[Sequence[str]], list[str]]
"""Gives the lines of the model that assume something about the sizes of some dims."""

_PREFIX = "dim_"
_MAX_LINES = 20
_NOT_THE_MODEL = tuple(
    f"{Path(str(package.__file__)).resolve().parent}{os.sep}"
    for package in (torch, edgeconv, edgeconv_converters)
)
_PATHS = sysconfig.get_paths()
_INSTALLED = tuple(str(Path(_PATHS[key]).resolve()) for key in ("purelib", "platlib"))
_STANDARD = str(Path(_PATHS["stdlib"]).resolve())


def torch_dim_name(name: str) -> str:
    """What a dim is called towards PyTorch, which takes `N`, `S` and others for functions of sympy."""
    return f"{_PREFIX}{name}"


def is_violation(error: BaseException) -> bool:
    """Whether PyTorch objects to the dynamic dims, and not to the model."""
    return "Constraints violated" in str(error)


def explain_violation(
    error: BaseException,
    dims: Sequence[Dim],
    lines: SizeLines,
    axes: Mapping[tuple[str, int], str],
) -> CaptureError | None:
    """The refusal of a dynamic dim that no narrower range can help; None if a range may.

    Args:
        error: What torch.export raised.
        dims: The dynamic dims.
        lines: Tells the lines of the model that fix the sizes of some dims.
        axes: The dim that stands on an axis of an input, by input name and axis.
    """
    if not is_violation(error):
        return None
    text = str(error)
    for dim in dims:
        if constant := re.search(rf"^\s*{_PREFIX}{dim.name} = (\d+)\s*$", text, re.MULTILINE):
            return constant_refusal(dim.name, int(constant[1]), lines([dim.name]))
    for dim in dims:
        if multiple := re.search(
            rf"^\s*{_PREFIX}{dim.name} = (.*_{_PREFIX}.*)$", text, re.MULTILINE
        ):
            return _multiple_refusal(dim, multiple[1].strip(), lines([dim.name]))
    if equal := re.search(
        rf"values of {_PREFIX}(\w+) = .* and {_PREFIX}(\w+) = .* must always be equal", text
    ):
        return equality_refusal(equal[1], equal[2], lines([equal[1], equal[2]]))
    if constant := re.search(r"marked (.*?) as dynamic but .* a constant \((\d+)\)", text):
        known = _dim_on(constant[1], axes)  # of other dims the lines tell other things
        asked = [known] if known else [dim.name for dim in dims]
        return constant_refusal(known or _tidy(constant[1]), int(constant[2]), lines(asked))
    return None


def _dim_on(source: str, axes: Mapping[tuple[str, int], str]) -> str:
    """The dim on the axis that PyTorch calls `L['image'].size()[0]`; empty if it is no axis of an input."""
    place = re.search(r"L\['(\w+)'\]\.size\(\)\[(\d+)\]", source)
    return axes.get((place[1], int(place[2])), "") if place else ""


def constant_refusal(name: str, size: int, lines: Sequence[str]) -> CaptureError:
    """The model works at one size only."""
    return CaptureError(
        f"dim '{name}' cannot be dynamic",
        why=f"the model's code fixes it to {size}: it reshapes to, compares with, or loops over this number",
        hint=f"use sizes taken from the input, e.g. x.shape[0], or give --input the plain size {size}",
        details=lines,
    )


def equality_refusal(first: str, second: str, lines: Sequence[str]) -> CaptureError:
    """Two dims have to be one."""
    return CaptureError(
        f"dims '{first}' and '{second}' must be the same dim",
        why="the model's code requires their sizes to be equal",
        hint=f"write {first} in both places",
        details=lines,
    )


def range_refusal(dim: Dim, low: int, high: int | None, lines: Sequence[str]) -> CaptureError:
    """The range the user gave is wider than what the model takes."""
    asked, possible = (_range_text(*limits) for limits in ((dim.min, dim.max), (low, high)))
    return CaptureError(
        f"dim '{dim.name}' cannot take all sizes of {asked}",
        why=f"the model's code works for {possible}, or takes another way for other sizes",
        hint=f"give it a range inside {possible}, e.g. {dim.name}={low}..{high or dim.max or 64}",
        details=lines,
    )


def script_refusal(dims: Sequence[Dim]) -> CaptureError:
    """A script runs outside of Python, where sizes are plain numbers."""
    names = ", ".join(dim.name for dim in dims)
    return CaptureError(
        f"a TorchScript model cannot be exported with dynamic dims ({names})",
        why="TorchScript computes sizes as plain numbers, which torch.export takes for constants",
        hint="give --input plain sizes, or convert the PyTorch code that the file was made from",
    )


def _range_text(low: int, high: int | None) -> str:
    return f"{low} and more" if high is None else f"{low}..{high}"


def _multiple_refusal(dim: Dim, relation: str, lines: Sequence[str]) -> CaptureError:
    text = relation.replace(f"_{_PREFIX}{dim.name}", dim.name).replace(_PREFIX, "")
    return CaptureError(
        f"dim '{dim.name}' cannot take every size",
        why=f"the model's code needs it to be {text} for a whole number {dim.name}",
        hint=f"write the size as {text.replace(' ', '')} in --input, e.g. {text.replace(' ', '')}={_example(text, dim)}",
        details=lines,
    )


def _example(relation: str, dim: Dim) -> str:
    factor = re.match(r"(\d+)\*", relation)
    if factor is None:
        return str(dim.example)
    step = int(factor[1])
    return str(max(step, dim.example // step * step))


def explain_refusal(error: BaseException) -> CaptureError:
    """Why the model cannot be exported, with the user's source lines in `details`."""
    lines = user_lines(error)
    name, text = type(error).__name__, _first_paragraph(str(error))
    if "data-dependent" in text or name == "GuardOnDataDependentSymNode":
        return CaptureError(
            "the model's control flow depends on the values of tensors",
            why="a captured program has one path, and Python's if, while and range take theirs from the data",
            hint="use torch.where or torch.cond, or ask for torchscript, which can keep control flow",
            details=lines or [text],
        )
    return CaptureError(
        "PyTorch cannot export the model",
        why=f"{name}: {text}",
        hint="change the lines named above, or ask for a format that is reached through TorchScript",
        details=lines,
    )


def user_lines(error: BaseException) -> list[str]:
    """`file:line: code` of the model's own frames in a traceback and its causes, innermost first.

    Frames of installed packages (a model of torchvision) are given only where no line is the user's own.
    """
    return model_lines(frame for link in _chain(error) for frame in _frames(link))


def model_lines(frames: Iterable[Frame]) -> list[str]:
    """`file:line: code` of those frames that are the model's own; see `user_lines`."""
    frames = list(frames)
    model = [frame for frame in frames if not _is_machinery(frame[0])]
    own = [frame for frame in model if not frame[0].startswith(_INSTALLED)]
    lines = [f"{file}:{number}: {code}" for file, number, code in own or model]
    return list(dict.fromkeys(lines))[:_MAX_LINES]


def _is_machinery(file: str) -> bool:
    if file.startswith((*_NOT_THE_MODEL, "<")):
        return True
    return file.startswith(_STANDARD) and not file.startswith(_INSTALLED)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _frames(error: BaseException) -> Iterator[Frame]:
    # PyTorch names the line in the message where the traceback no longer reaches it.
    yield from named_frames(str(error))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        yield frame.filename, frame.lineno or 0, frame.line or ""


def stack_frames() -> Iterator[Frame]:
    """The frames of the caller and of whoever called it, innermost first."""
    for frame in reversed(traceback.extract_stack()):
        yield frame.filename, frame.lineno or 0, frame.line or ""


def named_frames(text: str) -> Iterator[Frame]:
    """The frames of the tracebacks that are written in a text, outermost first."""
    for match in re.finditer(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]+)', text):
        yield match[1], int(match[2]), match[3].strip()


def _first_paragraph(text: str) -> str:
    kept = []
    for line in text.splitlines():
        if line.startswith(
            ("The error above", "For more", "For extended", "If you suspect", "Caused by")
        ):
            break
        kept.append(line.strip())
    return _tidy(" ".join(part for part in kept if part))[:1000]


def _tidy(text: str) -> str:
    text = re.sub(r"L\['(\w+)'\]\.size\(\)\[(\d+)\]", r"axis \2 of \1", text)
    return text.replace(_PREFIX, "")
