"""Converts a saved program with litert-torch and gives the file its names."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib.metadata import version

import torch

from edgeconv.errors import CaptureError, StepError
from edgeconv.formats import load_handler
from edgeconv.plugin import Job, JobResult, Json

__all__ = ["convert"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Convert `inputs["source"]`, a `.pt2`, to the TFLite file `output`.

    Raises:
        StepError: litert-torch cannot convert the program.
        CaptureError: The job has no signature.
    """
    import litert_torch

    job = Job.from_json(request)
    if job.signature is None:
        raise CaptureError("a program cannot be converted before it was captured")
    program = torch.export.load(job.inputs["source"])
    sizes = {name: max(size, 2) for name, size in job.signature.example_sizes().items()}
    examples = tuple(
        torch.zeros(spec.concrete_shape(sizes), dtype=getattr(torch, spec.dtype.value))
        for spec in job.signature.inputs
    )
    try:
        litert_torch.convert(program.module(), examples).export(str(job.output))
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise StepError(
            "litert-torch cannot convert the program", why=f"{type(error).__name__}: {first}"
        ) from error
    load_handler("tflite").stamp(job.output, job.signature, job.metadata)
    return JobResult(
        output=job.output,
        versions={name: version(name) for name in ("litert-torch", "torch")},
    ).to_json()
