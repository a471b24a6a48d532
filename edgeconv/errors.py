"""The one error tree of edgeconv.

Every failure a caller can meet is an `EdgeconvError`: it says what failed, why, and what to do, and it
carries the exit status that the command line ends with. Errors cross process boundaries as JSON
(`to_json` / `error_from_json`), so a failure inside a worker reaches the user as the same typed error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import ClassVar

__all__ = [
    "CaptureError",
    "ConversionError",
    "EdgeconvError",
    "FailureKind",
    "InternalError",
    "InvalidInputError",
    "MissingDependencyError",
    "NoRouteError",
    "OutputError",
    "StepError",
    "UnsafeInputError",
    "UnsupportedOperatorsError",
    "UsageError",
    "ValidationError",
    "counted",
    "error_classes",
    "error_from_json",
]


class FailureKind(StrEnum):
    """How a step in a worker can fail: a closed list, which the executor re-plans on."""

    UNSUPPORTED_OPS = "unsupported_ops"
    INVALID_INPUT = "invalid_input"
    MISSING_TOOL = "missing_tool"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    INTERNAL = "internal"


class EdgeconvError(Exception):
    """Base of all errors edgeconv raises on purpose.

    Args:
        message: What failed, with ids in quotes.
        why: The cause, as far as it is known.
        hint: What to do next.
        details: One line per problem, all of them at once.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 70
    failure_kind: FailureKind = FailureKind.INTERNAL

    def __init__(
        self, message: str, *, why: str = "", hint: str = "", details: Sequence[str] = ()
    ) -> None:
        self.message = message
        self.why = why
        self.hint = hint
        self.details = tuple(details)
        super().__init__(message)

    def __str__(self) -> str:
        parts = [self.message]
        if self.why:
            parts.append(f"why: {self.why}")
        parts += [f"  - {line}" for line in self.details]
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return error_from_json, (self.to_json(),)

    def to_json(self) -> dict[str, object]:
        """The error as JSON data: code, message, why, hint, details, exit status."""
        return {
            "code": self.code,
            "message": self.message,
            "why": self.why,
            "hint": self.hint,
            "details": list(self.details),
            "exit_status": self.exit_status,
            "failure_kind": self.failure_kind.value,
        }


class UsageError(EdgeconvError):
    """The call itself is wrong: an unknown format, converter, option or combination."""

    code = "usage"
    exit_status = 2
    failure_kind = FailureKind.INVALID_INPUT


class InvalidInputError(EdgeconvError):
    """What was given cannot be used: a missing, empty, truncated or foreign file, wrong shapes or keys."""

    code = "invalid-input"
    exit_status = 2
    failure_kind = FailureKind.INVALID_INPUT


class OutputError(EdgeconvError):
    """The output folder cannot be written: no permission, not a folder, disk full."""

    code = "output"
    exit_status = 2


class NoRouteError(EdgeconvError):
    """No chain of converters leads from the model to the format that was asked for."""

    code = "no-route"
    exit_status = 3


class MissingDependencyError(EdgeconvError):
    """A package, extra or tool is not installed; the hint is the command that installs it."""

    code = "environment"
    exit_status = 4
    failure_kind = FailureKind.MISSING_TOOL


class ConversionError(EdgeconvError):
    """Every route to a format failed."""

    code = "conversion"
    exit_status = 5


class CaptureError(ConversionError):
    """PyTorch could not capture the model as a program; `details` name the user's source lines."""

    code = "capture"
    failure_kind = FailureKind.INVALID_INPUT


class UnsupportedOperatorsError(ConversionError):
    """A converter has no translation for some operators; `details` list all, with counts and lines."""

    code = "unsupported-operators"
    failure_kind = FailureKind.UNSUPPORTED_OPS


class StepError(ConversionError):
    """One step failed in its worker: `kind` says how (crashed, timed out, out of memory, …)."""

    code = "step"

    def __init__(
        self,
        message: str,
        *,
        kind: FailureKind = FailureKind.INTERNAL,
        why: str = "",
        hint: str = "",
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message, why=why, hint=hint, details=details)
        self.failure_kind = kind

    @property
    def kind(self) -> FailureKind:
        """How the step failed."""
        return self.failure_kind


class ValidationError(EdgeconvError):
    """An artifact does not compute what the model computes."""

    code = "validation"
    exit_status = 6


class UnsafeInputError(EdgeconvError):
    """The input would run code when read, and `--trust` was not given; nothing of it ran."""

    code = "unsafe"
    exit_status = 9
    failure_kind = FailureKind.INVALID_INPUT


class InternalError(EdgeconvError):
    """A bug in edgeconv."""

    code = "internal"
    exit_status = 70


def counted(number: float, noun: str) -> str:
    """A number of things, as messages count them.

    >>> counted(1, "operator"), counted(3, "operator"), counted(1.5, "second")
    ('1 operator', '3 operators', '1.5 seconds')
    """
    shown = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun}" if number == 1 else f"{shown} {noun}s"


def error_classes(root: type[EdgeconvError] = EdgeconvError) -> Iterator[type[EdgeconvError]]:
    """All concrete error classes, depth first."""
    for child in root.__subclasses__():
        yield child
        yield from error_classes(child)


def error_from_json(data: Mapping[str, object]) -> EdgeconvError:
    """The typed error that `to_json` described; an unknown code becomes an `InternalError`."""
    by_code = {cls.code: cls for cls in error_classes()}
    cls = by_code.get(str(data.get("code")), InternalError)
    raw = data.get("details")
    details = [str(line) for line in raw] if isinstance(raw, list | tuple) else []
    message, why, hint = (str(data.get(key) or "") for key in ("message", "why", "hint"))
    if issubclass(cls, StepError):
        kind = FailureKind(str(data.get("failure_kind") or "internal"))
        return cls(message, kind=kind, why=why, hint=hint, details=details)
    return cls(message, why=why, hint=hint, details=details)
