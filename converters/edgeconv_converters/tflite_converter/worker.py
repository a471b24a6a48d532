"""Converts a SavedModel with TFLiteConverter and gives the file its names."""

from __future__ import annotations

from collections.abc import MutableMapping

import tensorflow as tf

from edgeconv.errors import CaptureError, StepError
from edgeconv.formats import load_handler
from edgeconv.plugin import Job, JobResult, Json

__all__ = ["convert"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Convert `inputs["source"]`, a SavedModel, to the TFLite file `output`.

    Raises:
        StepError: The converter refuses the model.
        CaptureError: The job has no signature.
    """
    job = Job.from_json(request)
    if job.signature is None:
        raise CaptureError("a SavedModel cannot be converted before its signature is known")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(job.inputs["source"]))
    try:
        content = converter.convert()
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise StepError(
            "TFLiteConverter cannot convert the SavedModel", why=f"{type(error).__name__}: {first}"
        ) from error
    job.output.write_bytes(content)
    load_handler("tflite").stamp(job.output, job.signature, job.metadata)
    return JobResult(output=job.output, versions={"tensorflow": tf.__version__}).to_json()
