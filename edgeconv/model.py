"""What the Python interface hands to its caller: a model to convert, and what came out of a conversion."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast, overload

from edgeconv.artifact import Artifact
from edgeconv.conversion import ConversionOptions
from edgeconv.errors import EdgeconvError, InvalidInputError
from edgeconv.execute.records import Outcome
from edgeconv.plugin.job import JobResult
from edgeconv.signature import Layout, Signature

__all__ = ["CaptureFolder", "ConversionResult", "Model"]

T = TypeVar("T")


class CaptureFolder:
    """A temporary folder that is removed with the last object that holds it, without a warning."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="edgeconv-"))
        self._removal = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to convert: captured in this process, or named by a file or factory that is captured when needed.

    Attributes:
        name: Names the files made from it.
        source: As the user named it.
        captured: The result of the capture, for a module that was captured here.
        options: How it is captured otherwise.
        seed: What random samples are drawn from.
        context: Holds the module and the program in memory, for steps that need them.
        folder: Holds the files of the capture for as long as the model lives.
        again: Captures the module once more, with its images in another layout.
    """

    name: str
    source: str
    captured: JobResult | None = None
    options: ConversionOptions | None = None
    seed: int = 0
    context: MutableMapping[str, object] = field(default_factory=dict, repr=False)
    folder: CaptureFolder | None = field(default=None, repr=False)
    again: Callable[[Layout], Model] | None = field(default=None, repr=False)

    def in_layout(self, layout: Layout) -> Model:
        """The model with its images in a layout: captured again, or to be captured, unless they have it already.

        Raises:
            InvalidInputError: No input is an image.
            CaptureError: Nobody can tell what the images are.
        """
        if self.options is not None:
            return replace(self, options=replace(self.options, layout=layout.value))
        specs = (*self.signature.inputs, *self.signature.outputs) if self.signature else ()
        images = [spec for spec in specs if spec.layout != Layout.NONE]
        is_there = bool(images) and all(spec.layout == layout for spec in images)
        return self if is_there or self.again is None else self.again(layout)

    @property
    def signature(self) -> Signature | None:
        """Inputs and outputs; None until the model was captured."""
        if self.captured is None:
            return None
        return Signature.from_json(cast("Mapping[str, object]", self.captured.details["signature"]))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConversionResult(Mapping[str, Artifact]):
    """The artifacts of a conversion by format id; asking for one that failed raises its error.

    Attributes:
        outcome: All that happened: steps, attempts, verdicts.
        report: The folder that holds the artifacts, report.json and report.html.
    """

    outcome: Outcome
    report: Path | None

    def __repr__(self) -> str:
        made = ", ".join(f"{name}: '{artifact.path}'" for name, artifact in self.items())
        failed = "".join(f", {name} failed" for name in self.errors)
        return f"ConversionResult({made}{failed})"

    def __getitem__(self, format_id: str) -> Artifact:
        for goal in self.outcome.goals:
            if goal.format == format_id:
                if goal.artifact is None:
                    raise goal.error or InvalidInputError(f"'{format_id}' was not made")
                return goal.artifact
        raise KeyError(format_id)

    def __contains__(self, format_id: object) -> bool:
        """Whether an artifact of this format was made."""
        return any(goal.format == format_id for goal in self.outcome.goals if goal.artifact)

    @overload
    def get(self, format_id: str, /) -> Artifact | None: ...

    @overload
    def get(self, format_id: str, /, default: Artifact | T) -> Artifact | T: ...

    def get(self, format_id: str, /, default: T | None = None) -> Artifact | T | None:
        """The artifact of a format, or the default if there is none."""
        if format_id not in self:
            return default
        return self[format_id]

    def __iter__(self) -> Iterator[str]:
        return iter([goal.format for goal in self.outcome.goals if goal.artifact is not None])

    def __len__(self) -> int:
        return sum(goal.artifact is not None for goal in self.outcome.goals)

    @property
    def errors(self) -> dict[str, EdgeconvError]:
        """Why formats were not made, by format id."""
        return {goal.format: goal.error for goal in self.outcome.goals if goal.error is not None}
