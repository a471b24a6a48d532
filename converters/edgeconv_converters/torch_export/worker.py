"""The capture step: builds the model, captures it, and writes the capture folder."""

from __future__ import annotations

import json
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import cast

import torch

from edgeconv.plugin import Job, JobResult, Json
from edgeconv.signature import Signature
from edgeconv.source import InputSpec, ModelSource
from edgeconv_converters.torch_export.build import Built, build_source
from edgeconv_converters.torch_export.core import Captured, CaptureSettings, capture_bound
from edgeconv_converters.torch_export.declared import check_fixed, declared_specs
from edgeconv_converters.torch_export.dependencies import Dependencies
from edgeconv_converters.torch_export.examples import (
    InputShapes,
    apply_specs,
    arguments_from_specs,
)
from edgeconv_converters.torch_export.flatten import Bound, bind_inputs, parameter_names
from edgeconv_converters.torch_export.prepare import ready_module
from edgeconv_converters.torch_export.vocabulary import spread_integers

__all__ = ["capture", "describe_capture"]


def capture(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Capture the model of `options["source"]` into the folder `output`.

    Args:
        request: The JSON of a `Job`; options: `source`, `inputs`, `trust`; input: `samples`, if there are any.
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
    with dependencies.watch():
        built = build_source(source)
    bound, shapes = _bind(built, specs, job.seed)
    files = dependencies.to_json(source.path, source.weights)
    settings = CaptureSettings(
        name=job.name,
        output=job.output,
        samples=job.inputs.get("samples"),
        seed=job.seed,
        metadata=job.metadata,
        sources=tuple(str(cast("dict[str, Json]", item)["sha256"]) for item in files),
        output_names=tuple(spec.name for spec in built.declared.outputs) if built.declared else (),
        is_owned=True,
    )
    captured = capture_bound(built.module, bound, shapes, settings, context)
    read = dependencies.to_json(source.path, source.weights)
    return describe_capture(
        captured, job.output, dependencies=read, distributions=dependencies.distributions()
    ).to_json()


def _bind(built: Built, specs: list[InputSpec], seed: int) -> tuple[Bound, InputShapes]:
    """Example inputs and shapes: what the user said of an input counts before what the file declares."""
    if built.has_examples:
        bound = bind_inputs(built.module, built.args, built.kwargs)
        if built.declared is not None:
            check_fixed(built.declared, specs, bound.names)
    else:
        known = _complete(specs, built.declared, parameter_names(built.module))
        drawn = arguments_from_specs(built.module, known, seed)
        module = ready_module(built.module, is_owned=True)
        bound = spread_integers(module, bind_inputs(module, (), drawn), list(drawn), seed)
    return apply_specs(bound, _complete(specs, built.declared, bound.names), seed)


def _complete(
    specs: list[InputSpec], declared: Signature | None, names: Sequence[str]
) -> list[InputSpec]:
    given = {spec.tensor.name for spec in specs}
    more = declared_specs(declared, names) if declared else ()
    return [*(spec for spec in more if spec.tensor.name not in given), *specs]


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
