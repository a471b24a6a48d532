"""The capture step: builds the model, captures it, and writes the capture folder."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from edgeconv.errors import StepError
from edgeconv.plugin import Job, JobResult, Json, load_extensions
from edgeconv.plugin.live import find_live
from edgeconv.signature import InputSpec, Layout
from edgeconv.source import ModelSource
from edgeconv_converters.torch_export import core
from edgeconv_converters.torch_export.binding import bind_source
from edgeconv_converters.torch_export.build import build_source
from edgeconv_converters.torch_export.core import Captured, CaptureSettings, capture_bound
from edgeconv_converters.torch_export.dependencies import Dependencies

_NO_WEIGHTS = (
    "no weights were given: they are what the factory made, initial ones unless it loads others"
)

__all__ = ["capture", "describe_capture", "save_program"]


def capture(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Capture the model of `options["source"]` into the folder `output`.

    Args:
        request: The JSON of a `Job`; options: `source`, `inputs`, `trust`, `layout`, `save_program`; input: `samples`, if
            there are any.
        context: Of the worker; the live module is left there for later steps.

    Raises:
        InvalidInputError: The model, its weights or its inputs cannot be used.
        UnsafeInputError: A file would run code when read.
        CaptureError: A dynamic dim is not possible.
    """
    job = Job.from_json(request)
    source = ModelSource.from_json(cast("dict[str, Json]", job.options["source"]))
    inputs = cast("list[dict[str, Json]]", job.options.get("inputs") or [])
    specs = [InputSpec.from_json(item) for item in inputs]
    dependencies = Dependencies()
    torch.manual_seed(job.seed)
    if source.kind == "file":
        load_extensions(job)  # a program may call operators that plug-ins define
    with dependencies.watch():
        built = build_source(source)
    bound, shapes = bind_source(built, specs, job.seed)
    files = dependencies.to_json(source.path, source.weights)
    settings = CaptureSettings(
        name=job.name,
        output=job.output,
        samples=job.inputs.get("samples"),
        seed=job.seed,
        metadata=job.metadata,
        sources=tuple(str(cast("dict[str, Json]", item)["sha256"]) for item in files),
        is_owned=True,
        output_names=built.output_names,
        layout=Layout(str(layout)) if (layout := job.options.get("layout")) else None,
        saves_program=bool(job.options.get("save_program", True)),
    )
    captured = capture_bound(built.module, bound, shapes, settings, context)
    if source.kind == "factory" and source.weights is None:
        captured = replace(captured, facts=(*captured.facts, _NO_WEIGHTS))
    read = dependencies.to_json(source.path, source.weights)
    return describe_capture(
        captured, job.output, dependencies=read, distributions=dependencies.distributions()
    ).to_json()


def save_program(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Write the program that was captured as `inputs["source"]`, and not saved then, to the file `output`.

    Raises:
        StepError: It is not in this process.
        OutputError: It cannot be written.
    """
    job = Job.from_json(request)
    live = find_live(context, job.inputs["source"])
    if live is None or live.program is None:
        raise StepError("the program is not in this process")
    core.save_program(job.output, live.program, live.signature, job.metadata)
    return JobResult(output=job.output, versions={"torch": torch.__version__}).to_json()


def describe_capture(
    captured: Captured,
    output: Path,
    *,
    dependencies: list[Json],
    distributions: dict[str, Json],
) -> JobResult:
    """The result of the step, also written as `capture.json` into the folder."""
    error = captured.live.export_error
    details: dict[str, Json] = {
        "signature": cast("Json", captured.live.signature.to_json()),
        "source_digest": captured.source_digest,
        "parameters": captured.parameters,
        "notes": list(captured.facts),
        "dependencies": dependencies,
        "distributions": distributions,
        "export_error": None if error is None else cast("Json", error.to_json()),
    }
    (output / "capture.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    return JobResult(
        output=output,
        warnings=captured.warnings,
        versions={"torch": torch.__version__},
        details=details,
    )
