"""Runs PyTorch's ONNX exporters, names what goes in and out, checks the file, and stores the metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from edgeconv.errors import ConversionError, StepError
from edgeconv.formats.onnx import put_record, rename_values
from edgeconv.formats.onnx_checking import check_model
from edgeconv.formats.onnx_file import (
    DATA_FILE_NOTE,
    LARGEST_INLINE_BYTES,
    Weight,
    read_onnx,
    write_onnx,
)
from edgeconv.lowering.private import without_private_operators
from edgeconv.lowering.retracing import keep_recurrent_operators
from edgeconv.plugin import PLUGIN_OPERATORS, Job, JobResult, Json
from edgeconv.plugin.live import LiveCapture, find_live, fresh_examples, read_program
from edgeconv.plugin.tracing import trace_live
from edgeconv.signature import DType, Signature
from edgeconv_converters.torch_onnx.added import read_translations
from edgeconv_converters.torch_onnx.unsupported import unconvertible, unsupported
from edgeconv_converters.torch_onnx.weights import take_weights

__all__ = ["convert_module", "convert_program"]

# What torch.onnx writes unless told otherwise: the first opset that has GELU, and every ONNX Runtime since 1.17 reads it.
_OPSET = 20
_TORCHSCRIPT_OPSET = 17
# What ONNX does not name as everyone does.
_ONNX_NAMES = {DType.FLOAT32: "FLOAT", DType.FLOAT64: "DOUBLE"}


def convert_program(
    request: dict[str, Json], context: MutableMapping[str, object]
) -> dict[str, Json]:
    """Export the captured program `inputs["source"]` to the ONNX file `output`.

    Raises:
        UnsupportedOperatorsError: Operators have no translation; all are listed.
        StepError: The exporter fails.
        ConversionError: The checker refuses the file.
    """
    from edgeconv_converters.torch_onnx import elementwise

    job = Job.from_json(request)
    added = read_translations(job)
    program = without_private_operators(read_program(context, job.inputs["source"]))
    with _quiet(), keep_recurrent_operators():
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=_OPSET,
                verbose=False,
                optimize=True,
                custom_translation_table={**added.translations, **elementwise.TRANSLATIONS},
            )
        except Exception as error:
            refusal = unsupported(program, error, _OPSET, added.translations) or _failure(
                "torch.onnx", error
            )
            raise refusal from error
    if exported is None:
        raise StepError("torch.onnx gave no model")
    result = _finish(*take_weights(exported.model), job)
    return replace(
        result,
        warnings=(*added.problems, *result.warnings),
        details={**result.details, PLUGIN_OPERATORS: {**added.operators_of(program.graph_module)}},
    ).to_json()


def convert_module(
    request: dict[str, Json], context: MutableMapping[str, object]
) -> dict[str, Json]:
    """Trace the live module of the capture `inputs["source"]` to the ONNX file `output`.

    Raises:
        CaptureError: The module decides by values of tensors, of which a trace would keep one case.
        UnsupportedOperatorsError: Operators have no translation; all are listed.
        StepError: The exporter fails, or the module is no longer in memory.
        ConversionError: The model is too large for one file, or the checker refuses the file.
    """
    job = Job.from_json(request)
    live = find_live(context, job.inputs["source"] / "model.pt2")
    if live is None:
        raise StepError("the module is not in this process")
    _check_size((*live.module.parameters(), *live.module.buffers()))
    script = _trace(live)
    signature = job.signature or live.signature
    raw = job.output.with_name(f".{job.output.name}.raw")
    with _quiet(), torch.no_grad():
        try:
            torch.onnx.export(
                script,
                fresh_examples(live),
                str(raw),
                dynamo=False,
                opset_version=_TORCHSCRIPT_OPSET,
                input_names=[spec.name for spec in signature.inputs],
                output_names=[spec.name for spec in signature.outputs],
                dynamic_axes=_dynamic_axes(signature),
            )
        except Exception as error:
            refusal = unconvertible(script, error, _TORCHSCRIPT_OPSET)
            raise refusal or _failure("torch.onnx (TorchScript)", error) from error
    model, weights = read_onnx(raw)
    raw.unlink()  # it stays mapped as long as its weights are needed
    _add_unused_inputs(model, signature)
    return _finish(model, weights, job).to_json()


def _add_unused_inputs(model: Any, signature: Signature) -> None:  # noqa: ANN401 - a protocol buffer
    """Give the graph back the inputs that nothing reads: this exporter drops them."""
    import onnx

    written = {value.name: value for value in model.graph.input}
    del model.graph.input[:]
    for spec in signature.inputs:
        dtype = onnx.TensorProto.DataType.Value(_ONNX_NAMES.get(spec.dtype, spec.dtype.upper()))
        shape = [size if isinstance(size, int) else str(size) for size in spec.shape]
        unused = onnx.helper.make_tensor_value_info(spec.name, dtype, shape)
        model.graph.input.append(written.pop(spec.name, unused))
    model.graph.input.extend(written.values())


def _trace(live: LiveCapture) -> torch.jit.ScriptModule:
    """The trace to export. Left to trace by itself, the exporter calls no module that is a script already."""
    with _quiet():
        traced = trace_live(live)
    if not traced.decisions:
        return traced.script
    if live.export_error is not None:
        raise live.export_error
    raise StepError(
        "torch.onnx (TorchScript) would export one of several paths",
        why="the model decides by values of tensors",
        details=traced.decisions,
    )


def _check_size(tensors: Iterable[torch.Tensor]) -> None:
    """Refuse what this exporter cannot write, before it is copied several times in memory.

    Raises:
        ConversionError: The weights alone are larger than a protocol buffer can be.
    """
    sizes = {tensor.data_ptr(): tensor.nbytes for tensor in tensors}
    total = sum(sizes.values())
    if total > LARGEST_INLINE_BYTES:
        raise ConversionError(
            "the model is larger than torch.onnx (TorchScript) can write",
            why=f"{total} bytes, and a protocol buffer ends at 2 GB",
            hint="ask for another format, or for the model in half precision",
        )


def _failure(tool: str, error: Exception) -> StepError:
    """What made the exporter fail: it wraps that in errors which tell the stage and how to report a bug."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    first = str(cause).strip().partition("\n")[0]
    return StepError(f"{tool} cannot export the model", why=f"{type(cause).__name__}: {first}")


def _dynamic_axes(signature: Signature) -> dict[str, dict[int, str]]:
    return {
        spec.name: {a: str(s) for a, s in enumerate(spec.shape) if not isinstance(s, int)}
        for spec in (*signature.inputs, *signature.outputs)
        if spec.is_dynamic
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' advice is not for the user of edgeconv."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _finish(
    model: Any,  # noqa: ANN401 - a protocol buffer
    weights: Sequence[Weight | None],
    job: Job,
) -> JobResult:
    if job.signature is not None:
        rename_values(model, job.signature)
        put_record(model, job.signature, job.metadata)
    _strip_source_paths(model)
    model.graph.name = job.name
    check_model(model, weights)
    has_data_file = write_onnx(job.output, model, weights)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    details: dict[str, Json] = {
        "ir_version": model.ir_version,
        "opset": dict(opsets),
        "operators": len(model.graph.node),
        "has_data_file": has_data_file,
    }
    return JobResult(
        output=job.output,
        versions=_versions(),
        details=details,
        warnings=(DATA_FILE_NOTE,) if has_data_file else (),
    )


def _strip_source_paths(model: Any) -> None:  # noqa: ANN401 - a protocol buffer
    """Stack traces name folders of this machine, and make equal models differ."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in model.graph.value_info:
        del value.metadata_props[:]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "onnx", "onnxscript")}
