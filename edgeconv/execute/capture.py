"""The captured model: its files, its facts, and the process that still holds it in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from edgeconv.errors import EdgeconvError, FailureKind, InvalidInputError, error_from_json
from edgeconv.execute.records import Step
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Lane, Reply, Runner, Task, WorkerReplacedError, failure
from edgeconv.execute.steps import Steps
from edgeconv.execute.work import Done, Material, Work, conversion
from edgeconv.plugin.converter import ConverterSpec
from edgeconv.plugin.job import Job
from edgeconv.signature import Signature

__all__ = ["PROGRAM_NAME", "Capture", "LiveModel", "capture", "samples_of", "send_live"]

PROGRAM_NAME = "model.pt2"
"""The program in the folder of a capture, where it was written to a file."""

_REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What the capture step gave.

    Attributes:
        head: Where routes begin: all that the capture wrote, or the user's own file.
        program: The exported program; None if PyTorch refused the model.
        is_saved: Whether the program is a file; otherwise it is to be had from `live` alone.
        reference: Samples and the model's outputs for them.
        signature: Names, dtypes, dims.
        source_digest: SHA-256 over what the model was made from.
        parameters: Number of weights; None if unknown.
        export_error: Why there is no program.
        live: The process that holds the model; None for a file, which no process need hold.
        peak_memory_bytes: The most that process held while it captured; 0 where it did not capture in this run.
    """

    head: Material
    program: Material | None
    is_saved: bool
    reference: Material
    signature: Signature
    source_digest: str
    parameters: int | None
    export_error: EdgeconvError | None
    live: LiveModel | None
    peak_memory_bytes: int = 0


class LiveModel:
    """Runs tasks in the process that holds the captured module; captures again where that process is gone.

    Args:
        runner: Where tasks run.
        recapture: Captures once more; gives the new folder and the process's generation.
        current: Folder and generation of the process that has it now; None if it came from the cache.
    """

    def __init__(
        self,
        runner: Runner,
        recapture: Callable[[], tuple[Path, int | None]],
        current: tuple[Path, int | None] | None,
    ) -> None:
        self._runner = runner
        self._recapture = recapture
        self._current = current
        self._guard = threading.Lock()

    @property
    def is_there(self) -> bool:
        """Whether a process has the model now."""
        return self._current is not None

    def run(self, work: Work, task_for: Callable[[Path, int | None], Task]) -> Reply:
        """Run one task; see `ask`."""
        return self.ask(work.lane, work.title, task_for)

    def ask(self, lane: Lane, title: str, task_for: Callable[[Path, int | None], Task]) -> Reply:
        """Run one task where the module is.

        Args:
            lane: The lane whose process has it.
            title: Who does the work.
            task_for: Makes the task from the captured folder and the generation it must run in.

        Raises:
            EdgeconvError: Capturing again failed.
        """
        with self._guard:
            for _ in range(2):
                if self._current is None:
                    self._current = self._recapture()
                try:
                    return self._runner.run(lane, task_for(*self._current))
                except WorkerReplacedError:
                    self._current = None
        why = "the process that holds the model ended twice"
        return Reply(error=failure(FailureKind.CRASHED, f"{title} did not run", why=why))


def capture(
    spec: ConverterSpec,
    request: ConversionRequest,
    steps: Steps,
    *,
    version: str,
    needs_file: bool,
    on_miss: Callable[[], None],
) -> Capture:
    """Capture the model, or take the capture that the request brings.

    Args:
        spec: The converter from `torch` to `torch-export`.
        request: The run.
        steps: Does the step.
        version: Of edgeconv, to be stored in the program.
        needs_file: Whether somebody will read the program from a file; it can still be written later.
        on_miss: Called before anything is computed.

    Raises:
        EdgeconvError: The model cannot be captured.
    """
    work = _capture_work(spec, request, steps, version)
    if not needs_file:
        work = replace(work, options={**work.options, "save_program": False})
    if request.captured is not None:
        folder = request.captured.output
        digest = steps.digest(folder)
        done = Done(result=request.captured, material=Material(path=folder, digest=digest))
        current: tuple[Path, int | None] | None = (folder, None)
    else:
        done = steps.do(work, on_miss=on_miss)
        material = cast("Material", done.material)
        current = (material.path, done.generation) if done.generation is not None else None

    def recapture() -> tuple[Path, int | None]:
        again = replace(work, step=replace(work.step, id="capture-again"))
        fresh = steps.compute(again, steps.send)
        return cast("Material", fresh.material).path, fresh.generation

    live = LiveModel(steps.runner, recapture, current)
    return _read(done, steps, live, work, request.reference)


def send_live(
    live: LiveModel, steps: Steps, *, takes_program: bool = False
) -> Callable[[Work, Job], Reply]:
    """How work that needs the module itself, or its program, reaches the process that holds it."""

    def send(work: Work, job: Job) -> Reply:
        def task_for(folder: Path, generation: int | None) -> Task:
            source = folder / PROGRAM_NAME if takes_program else folder
            here = replace(job, inputs={**job.inputs, "source": source})
            return steps.task(work, here, generation)

        return live.run(work, task_for)

    return send


def _capture_work(
    spec: ConverterSpec, request: ConversionRequest, steps: Steps, version: str
) -> Work:
    work = conversion(spec, (spec.id,), request)
    return replace(
        work,
        step=Step(
            id="capture", kind="capture", converter=spec.id, source=spec.source, target=spec.target
        ),
        output_name="capture",
        inputs=samples_of(request, steps),
        options=request.capture_options,
        metadata={"edgeconv_version": version},
        # What the user wrote may be relative to the folder edgeconv was called in.
        depends_on={"folder": str(Path.cwd())},
    )


def samples_of(request: ConversionRequest, steps: Steps) -> dict[str, Material]:
    """The user's samples as an input of a step; nothing if there are none.

    Raises:
        InvalidInputError: They cannot be read.
    """
    path = request.samples
    if path is None:
        return {}
    try:
        return {"samples": Material(path=path, digest=steps.digest(path, is_ours=False))}
    except OSError as error:
        raise InvalidInputError(
            f"'{path}' cannot be read", why=error.strerror or str(error), hint="check the path"
        ) from error


def _read(done: Done, steps: Steps, live: LiveModel, work: Work, reference: Path | None) -> Capture:
    folder = cast("Material", done.material)
    details = done.result.details
    refused = details.get("export_error")
    program = _program(folder, steps, is_refused=refused is not None)
    try:
        return Capture(
            head=folder,
            program=program,
            is_saved=program is not None and program.path.exists(),
            reference=_material(reference or folder.path / _REFERENCE, steps),
            signature=Signature.from_json(cast("dict[str, object]", details["signature"])),
            source_digest=str(details["source_digest"]),
            parameters=int(cast("int", details["parameters"])),
            export_error=error_from_json(refused) if isinstance(refused, dict) else None,
            live=live,
            peak_memory_bytes=done.peak_memory_bytes,
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        why = f"what it left is not a capture: {type(error).__name__}: {error}"
        raise failure(FailureKind.INTERNAL, f"{work.title} failed", why=why) from error


def _program(folder: Material, steps: Steps, *, is_refused: bool) -> Material | None:
    """The program's file; one that was not written is what the whole capture is."""
    path = folder.path / PROGRAM_NAME
    if path.exists():
        return _material(path, steps)
    return None if is_refused else Material(path=path, digest=folder.digest)


def _material(path: Path, steps: Steps) -> Material:
    return Material(path=path, digest=steps.digest(path))
