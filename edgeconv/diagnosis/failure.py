"""When two attempts at a route failed in the same way."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError, FailureKind, OutputError, UnsupportedOperatorsError
from edgeconv.execute.records import Attempt, GoalOutcome
from edgeconv.validation.verdict import Verdict

__all__ = ["Failure", "exception_of", "failure_of", "named_operators", "reducible"]

# What is missing, slow or large says nothing about any part of the model.
_ABOUT_THE_MODEL = (
    FailureKind.UNSUPPORTED_OPS,
    FailureKind.INVALID_INPUT,
    FailureKind.CRASHED,
    FailureKind.INTERNAL,
)
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Exit|Violated)): ")
# What differs between two models that fail in the same way: files, and numbers.
_DETAIL = re.compile(r"'[^']*/[^']*'|\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What tells one failure from another.

    Attributes:
        result: `failed`, or `rejected` where the artifact was made and is wrong.
        code: Of the error.
        kind: How the step failed.
        what: What exactly, without numbers and files: the message and the exception, or how an artifact is wrong.
        operators: Operators that are named as not supported.
    """

    result: str
    code: str
    kind: str
    what: str
    operators: frozenset[str] = frozenset()

    def is_like(self, other: Failure) -> bool:
        """Whether this is the failure of a part of a model that failed as `other` did."""
        same = (self.result, self.code, self.kind) == (other.result, other.code, other.kind)
        if other.operators:
            return same and bool(self.operators) and self.operators <= other.operators
        return same and self.what == other.what


def reducible(goal: GoalOutcome) -> Attempt | None:
    """The first attempt at a goal whose failure is one of the model and the tool."""
    for attempt in goal.attempts:
        error = attempt.error
        if error is None or isinstance(error, OutputError):
            continue
        if error.failure_kind in _ABOUT_THE_MODEL:
            return attempt
    return None


def failure_of(attempt: Attempt) -> Failure | None:
    """How an attempt failed; None if it did not."""
    error = attempt.error
    if error is None:
        return None
    if attempt.result == "rejected" and attempt.verdict is not None:
        what = _describe(attempt.verdict)
        return Failure(result="rejected", code=error.code, kind=error.failure_kind, what=what)
    return Failure(
        result=attempt.result,
        code=error.code,
        kind=error.failure_kind,
        what=_DETAIL.sub("", f"{error.message}: {exception_of(error)}"),
        operators=frozenset(named_operators(error)),
    )


def exception_of(error: EdgeconvError) -> str:
    """The exception that a tool raised, where the error says so; empty otherwise."""
    found = _EXCEPTION.match(error.why)
    return found[1] if found else ""


def named_operators(error: EdgeconvError) -> list[str]:
    """The operators that an error lists as not supported."""
    if not isinstance(error, UnsupportedOperatorsError):
        return []
    return [line.split()[0].rstrip(",") for line in error.details if line.strip()]


def _describe(verdict: Verdict) -> str:
    if any("does not run" in problem for problem in verdict.problems) or not verdict.samples:
        return "it does not run"
    return "its signature differs" if verdict.problems else "its values differ"
