"""Takes a sample through export, lowering, passes, a writer and the format's own runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.opinfo.compare import find_difference
from benchmarks.opinfo.formats import FORMATS, Format
from benchmarks.opinfo.program import core_class, export_sample, is_random
from benchmarks.opinfo.rows import Row
from benchmarks.opinfo.samples import Sample
from edgeconv.errors import EdgeconvError
from edgeconv.formats import load_handler
from edgeconv.graph import Graph
from edgeconv.graph.file import read_graph, write_graph
from edgeconv.plugin import Job
from edgeconv.signature import DType, Signature, TensorSpec
from edgeconv_converters.torch_export.arrays import dtype_of

__all__ = ["judge_sample"]

_Arrays = list[NDArray[np.generic]]


def judge_sample(
    sample: Sample, *, announce: Callable[[str], None], needs_class: bool = True
) -> Row:
    """Judge a sample; `announce` is told every stage that may end the process."""
    row = Row(index=sample.index)
    announce("export")
    try:
        with torch.no_grad():
            wanted = [_array(tensor) for tensor in sample.module(*_copies(sample.inputs))]
        if not wanted:
            row.uncaptured = "it gives no tensor"
            return row
        program = export_sample(sample)
    except Exception as error:  # noqa: BLE001 - whatever PyTorch cannot capture is not ours to judge
        row.uncaptured = _first_line(error)
        return row
    noise = _noise(sample, wanted)
    row.is_random = is_random(program)
    row.core = core_class(program) if needs_class else ""
    signature = _signature(sample, wanted)
    lowered: dict[Callable[..., Graph], Graph | str] = {}
    with tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        for format_id, form in FORMATS.items():
            if form.lower not in lowered:  # formats that are lowered alike share the graph
                announce("lower")
                lowered[form.lower] = _lower(form, program, signature)
            graph = lowered[form.lower]
            if isinstance(graph, str):
                row.failures[format_id] = graph
                continue
            announce(format_id)
            place = Path(scratch) / format_id
            job = Job(name="sample", inputs={}, output=place, signature=signature)
            try:
                got = _run(format_id, _stored(graph, place), job, sample.inputs)
                row.failures[format_id] = find_difference(
                    got, wanted, noise, only_shapes=row.is_random
                )
            except Exception as error:  # noqa: BLE001 - every failure is a row
                row.failures[format_id] = _first_line(error)
    return row


def _lower(
    form: Format, program: torch.export.ExportedProgram, signature: Signature
) -> Graph | str:
    """The graph, or why there is none."""
    try:
        return form.lower(program, signature)
    except Exception as error:  # noqa: BLE001 - every failure is a row
        return _first_line(error)


def _stored(graph: Graph, place: Path) -> Graph:
    """A graph of its own for a writer, which rewrites it, from a file as on its way to one."""
    stored = place.with_suffix(".safetensors")
    write_graph(graph, stored)
    return read_graph(stored)


def _noise(sample: Sample, wanted: _Arrays) -> list[float]:
    """How far PyTorch's own results are from those in double precision, for each output; 0 where there are none."""
    doubles = [t.double() if t.is_floating_point() else t.clone() for t in sample.inputs]
    try:
        with torch.no_grad():
            exact = [_array(tensor) for tensor in sample.module(*doubles)]
    except Exception:  # noqa: BLE001 - an operator that takes no doubles has no second opinion
        return [0.0] * len(wanted)
    return [_distance(ours, theirs) for ours, theirs in zip(wanted, exact, strict=True)]


def _distance(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> float:
    if ours.dtype.kind != "f" or ours.shape != theirs.shape:
        return 0.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    return float(apart[np.isfinite(apart)].max(initial=0))


def _scratch() -> str | None:
    """Memory, where there is a folder in it: a SavedModel is many small files."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a fresh folder is made in it


def _copies(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def _array(tensor: Tensor) -> NDArray[np.generic]:
    array: NDArray[np.generic] = tensor.detach().resolve_conj().resolve_neg().contiguous().numpy()
    return array


def _signature(sample: Sample, wanted: _Arrays) -> Signature:
    inputs = tuple(
        TensorSpec(name=f"in_{i}", dtype=dtype_of(tensor), shape=tuple(tensor.shape))
        for i, tensor in enumerate(sample.inputs)
    )
    outputs = tuple(
        TensorSpec(name=f"out_{i}", dtype=DType(array.dtype.name), shape=array.shape)
        for i, array in enumerate(wanted)
    )
    return Signature(inputs=inputs, outputs=outputs)


def _run(format_id: str, graph: Graph, job: Job, inputs: tuple[Tensor, ...]) -> _Arrays:
    FORMATS[format_id].write(graph, job)
    with ExitStack() as stack:
        session = stack.enter_context(load_handler(format_id).open(job.output))
        arrays = {f"in_{i}": _array(tensor) for i, tensor in enumerate(inputs)}
        outputs = session.run(arrays).outputs
        signature = job.signature
        assert signature is not None
        return [np.asarray(outputs[spec.name]) for spec in signature.outputs]


def _first_line(error: BaseException) -> str:
    """Its class and what it says; of edgeconv's own errors the reason and the details as well."""
    if isinstance(error, EdgeconvError):
        parts = [error.message, error.why, *error.details[:3]]
        text = "; ".join(part for part in parts if part)
    else:
        text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:400]
