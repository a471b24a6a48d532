"""Runs PyTorch's ONNX exporters, names what goes in and out, checks the file, and stores the metadata."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from edgeconv.errors import ConversionError, StepError
from edgeconv.formats.onnx import put_record, rename_values
from edgeconv.plugin import Job, JobResult, Json
from edgeconv.plugin.live import find_live
from edgeconv.signature import Signature

__all__ = ["convert_module", "convert_program"]

# Opset 18 is the first that torch.onnx writes without converting down, and every ONNX Runtime since 1.14 reads it.
_OPSET = 18
_TORCHSCRIPT_OPSET = 17
_MAX_INLINE_BYTES = 2**31 - 2**20


def convert_program(
    request: dict[str, Json], context: MutableMapping[str, object]
) -> dict[str, Json]:
    """Export the captured program `inputs["source"]` to the ONNX file `output`.

    Raises:
        StepError: The exporter fails.
        ConversionError: The model is too large for one file, or the checker refuses the file.
    """
    job = Job.from_json(request)
    live = find_live(context, job.inputs["source"])
    program = live.program if live and live.program else torch.export.load(job.inputs["source"])
    program = _without_private_operators(program)
    with _quiet():
        try:
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=_OPSET, verbose=False, optimize=True
            )
        except Exception as error:
            raise _failure("torch.onnx", error) from error
    if exported is None:
        raise StepError("torch.onnx gave no model")
    return _finish(exported.model_proto, job)


def _without_private_operators(program: ExportedProgram) -> ExportedProgram:
    """TorchScript writes convolutions as an operator that the exporter does not know."""
    private = torch.ops.aten._convolution.default  # noqa: SLF001 - the name is the operator's
    if not any(node.target is private for node in program.graph.nodes):
        return program
    rewritten: ExportedProgram = program.run_decompositions({private: _convolution})
    return rewritten


def _convolution(*arguments: object) -> torch.Tensor:
    """The public operator takes the same arguments without the flags at the end."""
    result: torch.Tensor = torch.ops.aten.convolution.default(*arguments[:9])
    return result


def convert_module(
    request: dict[str, Json], context: MutableMapping[str, object]
) -> dict[str, Json]:
    """Trace the live module of the capture `inputs["source"]` to the ONNX file `output`.

    Raises:
        StepError: The exporter fails, or the module is no longer in memory.
        ConversionError: The model is too large for one file, or the checker refuses the file.
    """
    import onnx

    job = Job.from_json(request)
    live = find_live(context, job.inputs["source"] / "model.pt2")
    if live is None:
        raise StepError("the module is not in this process")
    signature = job.signature or live.signature
    stream = io.BytesIO()
    with _quiet(), torch.no_grad():
        try:
            torch.onnx.export(
                live.module,
                live.examples,
                stream,  # type: ignore[arg-type]  # the stub knows paths only
                dynamo=False,
                opset_version=_TORCHSCRIPT_OPSET,
                input_names=[spec.name for spec in signature.inputs],
                output_names=[spec.name for spec in signature.outputs],
                dynamic_axes=_dynamic_axes(signature),
            )
        except Exception as error:
            raise _failure("torch.onnx (TorchScript)", error) from error
    return _finish(onnx.load_from_string(stream.getvalue()), job)


def _failure(tool: str, error: Exception) -> StepError:
    first = str(error).strip().partition("\n")[0]
    return StepError(f"{tool} cannot export the model", why=f"{type(error).__name__}: {first}")


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


def _finish(model: Any, job: Job) -> dict[str, Json]:  # noqa: ANN401 - a protocol buffer
    if job.signature is not None:
        rename_values(model, job.signature)
        put_record(model, job.signature, job.metadata)
    _strip_source_paths(model)
    if model.ByteSize() > _MAX_INLINE_BYTES:
        raise ConversionError(
            "the model is larger than an ONNX file can be",
            why=f"{model.ByteSize()} bytes, and a protocol buffer ends at 2 GB",
            hint="convert it to another format",
        )
    job.output.write_bytes(model.SerializeToString(deterministic=True))
    _check(job.output)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    details: dict[str, Json] = {
        "ir_version": model.ir_version,
        "opset": dict(opsets),
        "operators": len(model.graph.node),
    }
    return JobResult(output=job.output, versions=_versions(), details=details).to_json()


def _strip_source_paths(model: Any) -> None:  # noqa: ANN401 - a protocol buffer
    """Stack traces name folders of this machine, and make equal models differ."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in model.graph.value_info:
        del value.metadata_props[:]


def _check(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise ConversionError(
            "onnx.checker refuses the exported file", why=str(error).partition("\n")[0]
        ) from error


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "onnx", "onnxscript")}
