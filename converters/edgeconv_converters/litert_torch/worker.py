"""Converts a saved program with litert-torch, at fixed sizes, and gives the file its dims and names."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.export import ExportedProgram

from edgeconv.dims import evaluate, symbols
from edgeconv.errors import CaptureError, StepError
from edgeconv.formats import load_handler
from edgeconv.formats.torch_export import load_program
from edgeconv.lowering.private import without_private_operators
from edgeconv.plugin import Job, JobResult, Json
from edgeconv.signature import Dim, DType, Signature
from edgeconv_converters.litert_torch.dims import Variant, free_dims
from edgeconv_converters.litert_torch.unsupported import explain

__all__ = ["convert"]

# litert-torch makes these 32 bits wide, inputs and outputs too, unless it is told to keep all of them.
_WIDE = frozenset((DType.INT64, DType.UINT64, DType.FLOAT64))


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Convert `inputs["source"]`, a `.pt2`, to the TFLite file `output`.

    Raises:
        UnsupportedOperatorsError: litert-torch has no translation for some operators; all are listed.
        StepError: It cannot convert the program, or not with dynamic dims.
        CaptureError: The job has no signature.
    """
    job = Job.from_json(request)
    if job.signature is None:
        raise CaptureError("a program cannot be converted before it was captured")
    program = without_private_operators(load_program(job.inputs["source"]))
    sizes, changes = _choose_sizes(job.signature.dims)
    _write(program, job.signature, sizes, job.output)
    # In the order of the signature from here on.
    load_handler("tflite").stamp(job.output, job.signature, job.metadata)
    if changes:
        _free(program, job.signature, sizes, changes, job.output)
    return JobResult(
        output=job.output,
        versions={name: version(name) for name in ("litert-torch", "torch")},
    ).to_json()


def _choose_sizes(dims: Sequence[Dim]) -> tuple[dict[str, int], dict[str, int]]:
    """Sizes to convert at, and another one for each dim: its largest, or one that is larger.

    They are 2 or more where that is possible, since a size of 1 means much besides.
    """
    sizes, changes = {}, {}
    for dim in dims:
        larger = dim.max or max(dim.example, 2) + 1
        sizes[dim.name] = min(max(dim.example, 2), larger - 1) if larger > dim.min else larger
        if larger > dim.min:
            changes[dim.name] = larger
    return sizes, changes


def _free(
    program: ExportedProgram,
    signature: Signature,
    sizes: Mapping[str, int],
    changes: Mapping[str, int],
    path: Path,
) -> None:
    """Make the dims of the file dynamic, by what conversions at other sizes have different."""
    with TemporaryDirectory(dir=path.parent) as folder:
        variants = []
        largest = {dim.name: dim.max for dim in signature.dims}
        for dim, size in changes.items():
            changed = {**sizes, dim: size}
            aside = Path(folder) / f"{dim}.tflite"
            _write(program, signature, changed, aside)
            place, axis = _find_axis(signature, dim)
            base, other = (
                evaluate(signature.inputs[place].shape[axis], s) for s in (sizes, changed)
            )
            variants.append(
                Variant(
                    dim=dim,
                    path=aside,
                    input=place,
                    axis=axis,
                    base=base,
                    size=other,
                    is_largest=size == largest[dim],
                )
            )
        example = signature.example_sizes()
        free_dims(path, variants, [spec.concrete_shape(example) for spec in signature.inputs])


def _find_axis(signature: Signature, dim: str) -> tuple[int, int]:
    """An input and its axis whose size follows a dim and no other."""
    for place, spec in enumerate(signature.inputs):
        for axis, size in enumerate(spec.shape):
            if symbols(size) == {dim}:
                return place, axis
    raise StepError(f"no input shows the size of dim '{dim}' by itself")


def _write(
    program: ExportedProgram, signature: Signature, sizes: Mapping[str, int], path: Path
) -> None:
    """Convert at fixed sizes."""
    import litert_torch

    module = program.module(check_guards=False)
    examples = tuple(
        torch.zeros(spec.concrete_shape(sizes), dtype=getattr(torch, spec.dtype.value))
        for spec in signature.inputs
    )
    is_wide = any(spec.dtype in _WIDE for spec in (*signature.inputs, *signature.outputs))
    try:
        litert_torch.convert(module, examples, enable_x64=is_wide).export(str(path))
    except Exception as error:
        raise explain(error, module, examples) from error
