"""Converts a SavedModel with TFLiteConverter and gives the file its names."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping

import tensorflow as tf

from edgeconv.errors import (
    CaptureError,
    ConversionError,
    StepError,
    UnsupportedOperatorsError,
    counted,
)
from edgeconv.formats import load_handler
from edgeconv.plugin import Job, JobResult, Json

__all__ = ["convert"]

# What TFLiteConverter says of operators that only TensorFlow's own kernels, or the user's, would run.
_NO_BUILTIN = frozenset(("ERROR_NEEDS_FLEX_OPS", "ERROR_NEEDS_CUSTOM_OPS"))


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Convert `inputs["source"]`, a SavedModel, to the TFLite file `output`, with builtin operators alone.

    Raises:
        UnsupportedOperatorsError: Operators have no builtin; all are listed.
        StepError: The converter refuses the model.
        CaptureError: The job has no signature.
    """
    job = Job.from_json(request)
    if job.signature is None:
        raise CaptureError("a SavedModel cannot be converted before its signature is known")
    try:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(job.inputs["source"]))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    except Exception as error:
        raise _refusal(error) from error
    job.output.write_bytes(content)
    load_handler("tflite").stamp(job.output, job.signature, job.metadata)
    return JobResult(output=job.output, versions={"tensorflow": tf.__version__}).to_json()


def _refusal(error: Exception) -> ConversionError:
    """What the converter says, from the data that its error carries: the text is pages of its own graph."""
    counts: Counter[str] = Counter()
    places: dict[str, str] = {}
    for item in getattr(error, "errors", ()):
        if type(item).ErrorCode.Name(item.error_code) in _NO_BUILTIN:
            name = item.operator.name
            counts[name] += 1
            first = next((call.name for call in item.location.call), "?")
            places[name] = min(places.get(name, first), first)
    if not counts:
        first_line = str(error).strip().partition("\n")[0]
        return StepError(
            "TFLiteConverter cannot convert the SavedModel",
            why=f"{type(error).__name__}: {first_line}"[:1000],
        )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return UnsupportedOperatorsError(
        f"TFLite has no builtin for {counted(len(counts), 'operator')}",
        why="TFLiteConverter would leave what is listed to TensorFlow's own kernels, which are not on a device",
        details=[f"{op} x{n}, first at {places[op].partition('@')[0]}" for op, n in ordered],
    )
