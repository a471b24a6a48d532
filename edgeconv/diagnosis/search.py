"""One search: parts of the program are cut out, tried, and the smallest that fails as the whole did is kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgeconv.diagnosis.failure import failure_of, named_operators
from edgeconv.diagnosis.reproduction import PROGRAM_NAME, Reproduction, source_of_script
from edgeconv.diagnosis.shrink import OutOfTimeError, Part, Shrinker
from edgeconv.diagnosis.trial import Bench
from edgeconv.diagnosis.upstream import SAVEDMODEL_NAME, BareCall, needs_savedmodel, tool_of
from edgeconv.errors import EdgeconvError
from edgeconv.execute.capture import PROGRAM_NAME as CAPTURED_NAME
from edgeconv.execute.capture import LiveModel
from edgeconv.execute.records import Attempt
from edgeconv.execute.runner import Lane, Task
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.signature import Signature
from edgeconv.validation.verdict import Verdict

__all__ = ["Found", "Operators", "Search"]

_ENTRY = "edgeconv.diagnosis.cutting.program"
_TITLE = "the search for the smallest part that fails"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """What there is to leave out.

    Attributes:
        names: For each operator, as the program and as the user's code call it.
        kinds: For each, what failures depend on.
        sources: For each, where it comes from.
        origins: Who defines those that are not PyTorch's own.
    """

    names: tuple[frozenset[str], ...]
    kinds: tuple[str, ...]
    sources: tuple[str, ...]
    origins: tuple[Mapping[str, str], ...]

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> Operators:
        """What `program.describe` tells."""
        items = cast("list[dict[str, Json]]", data["operators"])
        return Operators(
            names=tuple(frozenset(cast("list[str]", item["names"])) for item in items),
            kinds=tuple(str(item["kind"]) for item in items),
            sources=tuple(str(item["source"]) for item in items),
            origins=tuple(cast("list[dict[str, str]]", data["origins"])),
        )

    def tell(self, index: int) -> str:
        """An operator, for people."""
        return f"{' or '.join(sorted(self.names[index]))}: {self.sources[index]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The smallest part: its program in `folder`, its operators, and how it failed."""

    folder: Path
    operators: tuple[int, ...]
    error: EdgeconvError
    verdict: Verdict | None = None


@dataclass(slots=True, kw_only=True)
class Search:
    """A search for one failure.

    Attributes:
        attempt: What failed.
        goal: Format id.
        live: The process that holds the whole program.
        bench: Where parts are tried.
        lane: Of that process.
        folder: Where to work.
    """

    attempt: Attempt
    goal: str
    live: LiveModel
    bench: Bench
    lane: Lane
    folder: Path
    origins: Sequence[Mapping[str, str]] = ()
    trials: int = 0
    _folders: int = 0
    _found: Found | None = None

    def run(self, operators: Operators, *, is_whole: bool) -> Found | None:
        """The smallest part that fails as the attempt did; None if none was seen to.

        Args:
            operators: Of the program.
            is_whole: Whether all that leads to a part stays with it: the model's own inputs and dynamic dims.
        """
        self.origins = operators.origins
        error = self.attempt.error
        named = set(named_operators(error)) if error else set()
        suspects = [i for i, names in enumerate(operators.names) if names & named]
        shrinker = Shrinker(operators.kinds, lambda part: self._fails(part, is_whole=is_whole))
        shrinker.search(suspects)
        self.trials += shrinker.trials
        return self._found

    def describe(self) -> Operators:
        """The operators of the program.

        Raises:
            EdgeconvError: It cannot be read.
        """
        return Operators.from_json(self._ask("describe", self.folder / "none", {}).details)

    def _fails(self, part: Part, *, is_whole: bool) -> bool:
        self.bench.clock.check()
        self._folders += 1
        folder = self.folder / str(self._folders)
        folder.mkdir()
        found = self._try(part, folder, is_whole=is_whole)
        if found is None or (self._found and len(self._found.operators) <= len(found.operators)):
            shutil.rmtree(folder)
            return found is not None
        if self._found:
            shutil.rmtree(self._found.folder.parent)
        self._found = found
        return True

    def _try(self, part: Part, folder: Path, *, is_whole: bool) -> Found | None:
        bundle = folder / "bundle"
        bundle.mkdir()
        options: dict[str, Json] = {"part": list(part), "is_whole": is_whole}
        error = self.attempt.error
        try:
            cut = self._ask("cut", bundle / PROGRAM_NAME, options)
        except EdgeconvError as refused:
            _logger.debug("operators %s: %s", part, refused)
            return None
        if error is not None and self.origins:
            self.reproduction().write_script(bundle, error)
        model = source_of_script(bundle, self.origins)
        tried = self.bench.attempt(model, self.goal, self.attempt.route, folder)
        _logger.debug("operators %s: %s", part, tried.error if tried else "no attempt")
        failure, wanted = (failure_of(a) if a else None for a in (tried, self.attempt))
        if tried is None or failure is None or wanted is None or not failure.is_like(wanted):
            return None
        kept = cast("list[int]", cut.details["operators"])
        return Found(
            folder=bundle,
            operators=tuple(kept),
            error=cast("EdgeconvError", tried.error),
            verdict=tried.verdict if failure.result == "rejected" else None,
        )

    def _ask(self, function: str, output: Path, options: dict[str, Json]) -> JobResult:
        def task_for(folder: Path, generation: int | None) -> Task:
            program = folder / CAPTURED_NAME
            job = Job(name="part", inputs={"program": program}, output=output, options=options)
            return Task(
                title=_TITLE,
                entry=f"{_ENTRY}:{function}",
                request=job.to_json(),
                timeout_seconds=self.bench.clock.left_seconds,
                generation=generation,
            )

        return JobResult.from_json(self.live.ask(self.lane, _TITLE, task_for).unwrap())

    def put_bare_call(self, reproduction: Reproduction, found: Found) -> tuple[str, bool]:
        """Have the script call the failing tool without edgeconv, if that shows the failure.

        Returns:
            The tool that fails, empty if it is edgeconv's own; and whether the script calls it without edgeconv.
        """
        route, taken = reproduction.route, None
        tool = tool_of(route)
        if not tool:
            return "", False
        try:
            if needs_savedmodel(route):
                taken = self._put_savedmodel(route, found)
                if taken is None:
                    return "", False  # what fails is before that tool
            self.bench.clock.check()
        except OutOfTimeError:
            return tool, False
        outputs = found.verdict.outputs if found.verdict is not None else ()
        call = BareCall(
            reproduction=reproduction,
            error=found.error,
            tolerances=[output.tolerance for output in outputs],
            taken=taken,
        )
        return tool, call.put(found.folder, self.bench.clock.left_seconds)

    def _put_savedmodel(self, route: tuple[str, ...], found: Found) -> Signature | None:
        """Put what the earlier converters of the route make beside the program; None if they make nothing."""
        model = source_of_script(found.folder, self.origins)
        aside = self.folder / "savedmodel"
        made = self.bench.convert(model, "savedmodel", route[:-1], aside)
        if made is None or made.artifact is None:
            return None
        shutil.copytree(made.artifact.path, found.folder / SAVEDMODEL_NAME)
        return made.artifact.signature

    def reproduction(
        self,
        operators: tuple[str, ...] = (),
        of: int = 0,
        versions: Mapping[str, str] | None = None,
    ) -> Reproduction:
        """What is to be written about a part."""
        return Reproduction(
            model=self.bench.request.name,
            format=self.goal,
            route=self.attempt.route,
            operators=operators,
            of=of,
            origins=tuple(self.origins),
            versions=versions or {},
        )
