"""Writes a Keras model as a SavedModel whose signature has the model's own names."""

from __future__ import annotations

from collections.abc import MutableMapping

import tensorflow as tf

from edgeconv.errors import CaptureError, StepError
from edgeconv.formats import load_handler
from edgeconv.formats.keras import call_flat, load_model
from edgeconv.formats.savedmodel import SIGNATURE_KEY
from edgeconv.plugin import Job, JobResult, Json

__all__ = ["convert"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Write `inputs["source"]`, a Keras file, as the SavedModel folder `output`.

    Raises:
        InvalidInputError: The file is damaged.
        UnsafeInputError: Reading it would run code.
        StepError: TensorFlow cannot trace the model.
        CaptureError: The job has no signature.
    """
    job = Job.from_json(request)
    signature = job.signature
    if signature is None:
        raise CaptureError("a Keras model cannot be converted before its signature is known")
    model = load_model(job.inputs["source"])

    def serve(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        results = call_flat(model, [tensors[spec.name] for spec in signature.inputs])
        return {
            spec.name: tf.identity(result, name=spec.name)
            for spec, result in zip(signature.outputs, results, strict=True)
        }

    specs = {
        spec.name: tf.TensorSpec(
            [size if isinstance(size, int) else None for size in spec.shape],
            spec.dtype.value,
            name=spec.name,
        )
        for spec in signature.inputs
    }
    try:
        function = tf.function(serve).get_concrete_function(**specs)
        owner = tf.Module()
        # TensorFlow does not look for variables inside of Keras objects, and would leave them without values.
        owner.weights = [variable.value for variable in model.variables]
        tf.saved_model.save(owner, str(job.output), signatures={SIGNATURE_KEY: function})
    except (ValueError, TypeError, tf.errors.OpError) as error:
        first = str(error).strip().partition("\n")[0]
        raise StepError("TensorFlow cannot trace the Keras model", why=first) from error
    load_handler("savedmodel").stamp(job.output, signature, job.metadata)
    return JobResult(output=job.output, versions={"tensorflow": tf.__version__}).to_json()
