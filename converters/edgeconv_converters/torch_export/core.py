"""Turns a module and example inputs into a program, its signature, and a reference of what it computes.

Used by the worker that builds the module from a factory or a file, and by the Python API for a module that the
caller holds; the caller's module is left exactly as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from edgeconv.data import Data
from edgeconv.errors import EdgeconvError, OutputError
from edgeconv.formats.record import RECORD_NAME, write_record
from edgeconv.formats.torch_files import torch_file
from edgeconv.plugin.live import LiveCapture, ScriptCall, keep_live
from edgeconv.signature import Layout, Signature
from edgeconv.validation.samples import check_names
from edgeconv_converters.torch_export.bundle import write_reference
from edgeconv_converters.torch_export.code_on_demand import program_module
from edgeconv_converters.torch_export.describe import describe_program, describe_runs
from edgeconv_converters.torch_export.evaluate import run
from edgeconv_converters.torch_export.exact import exact_runs
from edgeconv_converters.torch_export.examples import DynamicDims, InputShapes, resolve_dims
from edgeconv_converters.torch_export.export import Exported
from edgeconv_converters.torch_export.flatten import (
    Bound,
    bind_inputs,
    flatten_outputs,
    output_tensors,
    turn_tensors,
)
from edgeconv_converters.torch_export.layout import Subject, export_in_layout, read_turned
from edgeconv_converters.torch_export.loaded import sign_loaded
from edgeconv_converters.torch_export.observe import (
    check_not_empty,
    check_repeatable,
    run_raw,
)
from edgeconv_converters.torch_export.prepare import (
    check_weights,
    count_parameters,
    digest_weights,
    keep_buffers,
    ready_module,
)
from edgeconv_converters.torch_export.script_call import describe_call
from edgeconv_converters.torch_export.trial import Trial
from edgeconv_converters.torch_export.triton_conflict import refuse_triton_beside_tensorflow
from edgeconv_converters.torch_export.unconverted import refuse_unconverted
from edgeconv_converters.torch_export.value_reads import read_lines

__all__ = [
    "PROGRAM_NAME",
    "CaptureSettings",
    "Captured",
    "capture_bound",
    "capture_module",
    "save_program",
]

PROGRAM_NAME = "model.pt2"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings:
    """How to capture, besides the module and its inputs.

    Attributes:
        name: The model's name.
        output: Folder to write to; made if missing.
        samples: Real inputs to verify with, besides the drawn ones.
        seed: For everything random.
        metadata: Stored in the program file.
        sources: Digests of the files the model was made from.
        is_owned: Whether nobody else holds the module, so that it need not be left as it is.
        output_names: What to call the outputs, where the module's source has names for just as many.
        layout: The layout that images are to go in and come out in; the module's own if None.
        saves_program: Whether the program is written to a file; `save_program` can still do so later.
    """

    name: str
    output: Path
    samples: Data | None = None
    seed: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    is_owned: bool = False
    output_names: tuple[str, ...] = ()
    layout: Layout | None = None
    saves_program: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What came of it.

    Attributes:
        live: The module, the program and the signature.
        parameters: How many numbers the weights are.
        source_digest: SHA-256 over the weights, the program and the files it was made from.
        warnings: What the user should know.
        facts: What the report says beside, of no concern by itself.
    """

    live: LiveCapture
    parameters: int
    source_digest: str
    warnings: tuple[str, ...]
    facts: tuple[str, ...] = ()


def capture_module(
    module: nn.Module,
    args: Sequence[object],
    kwargs: Mapping[str, object] | None = None,
    *,
    dynamic: DynamicDims | None = None,
    settings: CaptureSettings,
    context: MutableMapping[str, object] | None = None,
) -> Captured:
    """Capture a module that the caller holds; it is left exactly as it was.

    Args:
        module: In any mode and on any device; it is captured in eval mode, on the CPU.
        args: Positional example inputs; tensors, or nested tuples, lists and dicts of them.
        kwargs: Keyword example inputs.
        dynamic: Per input name and axis a dim's name, a multiple such as `"8*H"`, or a `Dim` with its range.
        settings: Name, output folder, samples, seed.
        context: Where to leave the live module for later steps of this process.

    Returns:
        The live module with its signature; `settings.output` holds `model.pt2` (unless PyTorch refused the
        export, or it is not to be saved), `reference/` and `capture.json`.

    Raises:
        InvalidInputError: The inputs do not fit, the weights are no numbers, or every run differs.
        CaptureError: A dynamic dim is not possible, or the program computes something else.
        UsageError: `dynamic` names an input or an axis that there is not.
    """
    module = sign_loaded(module)
    bound = bind_inputs(module, args, kwargs)
    bound = bound.with_tensors(tuple(tensor.cpu() for tensor in bound.tensors))
    return capture_bound(module, bound, resolve_dims(bound, dynamic), settings, context)


def capture_bound(
    module: nn.Module,
    bound: Bound,
    shapes: InputShapes,
    settings: CaptureSettings,
    context: MutableMapping[str, object] | None = None,
) -> Captured:
    """Capture a module whose inputs are bound and whose dims are known; see `capture_module`."""
    refuse_triton_beside_tensorflow()
    refuse_unconverted(module)
    check_weights(module)
    module = ready_module(module, is_owned=settings.is_owned)
    with keep_buffers(module):
        return _capture(module, bound.with_own_memory(), shapes, settings, context)


def _capture(
    module: nn.Module,
    bound: Bound,
    shapes: InputShapes,
    settings: CaptureSettings,
    context: MutableMapping[str, object] | None,
) -> Captured:
    settings.output.mkdir(parents=True, exist_ok=True)
    if settings.samples is not None:
        check_names(settings.samples, bound.names)
    first = run_raw(module, bound, settings.seed)
    plan = flatten_outputs(first, bound.names).renamed(settings.output_names)
    subject = Subject(module=module, bound=bound, plan=plan, shapes=shapes)
    outputs = output_tensors(first)
    check_not_empty(bound, outputs)
    repeat = partial(check_repeatable, subject.flat(), bound, outputs, settings.seed)
    try:
        subject, exported = export_in_layout(subject, settings.layout)
    except EdgeconvError:
        repeat()  # random numbers explain more than what became of the export
        raise
    trial = _side_by_side(subject, exported, settings.seed)
    with exact_runs(trial, is_own_process=settings.is_owned) as exact:
        turned = turn_tensors(outputs, subject.turns.outputs)
        trial.run_example(subject.bound.tensors, turned, repeat)
        _run_trial(trial, subject, settings)
        signature = _describe(exported, trial)
        call = describe_call(module, bound, plan, first, subject.turns)
        live = _make_live(settings, trial, exported, signature, call)
        live.input_turns = subject.turns.inputs
        if exported.program is not None and settings.saves_program:
            save_program(live.program_path, exported.program, signature, settings.metadata)
        notes = write_reference(settings.output / "reference", trial, exact, signature)
    if context is not None:
        keep_live(context, live)
    dropped = [
        f"output '{name}' is no tensor ({kind}): it is left out" for name, kind in plan.dropped
    ]
    return Captured(
        live=live,
        parameters=count_parameters(module),
        source_digest=_digest(module, settings.sources),
        warnings=(*dropped, *trial.notes, *notes),
        facts=tuple(trial.facts),
    )


def _side_by_side(subject: Subject, exported: Exported, seed: int) -> Trial:
    """Module and program, ready to be run on case after case."""
    request = subject.request()
    return Trial(
        module=subject.flat(),
        program=None if exported.program is None else program_module(exported.program),
        signature=replace(request.signature(), dims=exported.dims),
        output_names=subject.plan.names,
        bounded=request.bounded,
        seed=seed,
    )


def _make_live(
    settings: CaptureSettings,
    trial: Trial,
    exported: Exported,
    signature: Signature,
    call: ScriptCall,
) -> LiveCapture:
    return LiveCapture(
        program_path=settings.output / PROGRAM_NAME,
        module=trial.module,
        program=exported.program,
        export_error=exported.error,
        examples=trial.ran[0].inputs,
        signature=signature,
        call=call,
    )


def _run_trial(trial: Trial, subject: Subject, settings: CaptureSettings) -> None:
    trial.run_noise()
    if settings.samples is not None:
        turns = subject.turns.inputs
        trial.run_samples(read_turned(settings.samples, trial.signature, turns))
    trial.run_sizes()
    trial.check_more_than_the_example_ran()


def _describe(exported: Exported, trial: Trial) -> Signature:
    if exported.program is not None:
        return describe_program(exported.program, trial.signature, trial.output_names)
    example = trial.ran[0].outputs
    runs = [ran.observed for ran in trial.ran]

    def find_lines() -> Sequence[str]:
        # The export ended at the first thing it could not do, which may be another than what is told here.
        ended = exported.error.details if exported.error is not None else ()
        found = read_lines(lambda: run(trial.module, trial.ran[0].inputs, trial.seed))
        return found or [f"the export ended at {line}" for line in ended]

    return describe_runs(trial.signature, trial.output_names, example, runs, find_lines)


def save_program(
    path: Path, program: ExportedProgram, signature: Signature, metadata: Mapping[str, str]
) -> None:
    """Write a captured program, with its signature and metadata, to the `.pt2` file `path`.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    record = write_record(signature, metadata)
    try:
        with torch_file(path) as stream:
            torch.export.save(program, stream, extra_files={RECORD_NAME: record})
    except OSError as error:
        raise OutputError(
            f"'{path.parent.name}' cannot be written",
            why=error.strerror or str(error),
            hint="free disk space, or set EDGECONV_CACHE_DIR to a folder on a larger disk",
        ) from error


def _digest(module: nn.Module, sources: Sequence[str]) -> str:
    total = hashlib.sha256(digest_weights(module).encode())
    for source in sorted(sources):
        total.update(source.encode())
    return total.hexdigest()
