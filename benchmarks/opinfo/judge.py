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
from benchmarks.opinfo.formats import FORMATS
from benchmarks.opinfo.program import core_class, export_sample, is_random
from benchmarks.opinfo.rows import Row
from benchmarks.opinfo.samples import Sample
from edgeconv.errors import EdgeconvError
from edgeconv.formats import load_handler
from edgeconv.graph import Graph
from edgeconv.graph.file import read_graph, write_graph
from edgeconv.lowering.program import lower_program
from edgeconv.passes import run_passes
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
    announce("lower")
    try:
        graph, signature = _lower(program, sample, wanted)
    except Exception as error:  # noqa: BLE001 - every failure is a row
        row.failures = dict.fromkeys(FORMATS, _first_line(error))
        return row
    with tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        stored = Path(scratch) / "graph.safetensors"
        write_graph(graph, stored)
        for format_id in FORMATS:
            announce(format_id)
            job = Job(
                name="sample", inputs={}, output=Path(scratch) / format_id, signature=signature
            )
            try:
                got = _run(format_id, read_graph(stored), job, sample.inputs)
                row.failures[format_id] = find_difference(
                    got, wanted, noise, only_shapes=row.is_random
                )
            except Exception as error:  # noqa: BLE001 - every failure is a row
                row.failures[format_id] = _first_line(error)
    return row


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


def _lower(
    program: torch.export.ExportedProgram, sample: Sample, wanted: _Arrays
) -> tuple[Graph, Signature]:
    inputs = tuple(
        TensorSpec(name=f"in_{i}", dtype=dtype_of(tensor), shape=tuple(tensor.shape))
        for i, tensor in enumerate(sample.inputs)
    )
    outputs = tuple(
        TensorSpec(name=f"out_{i}", dtype=DType(array.dtype.name), shape=array.shape)
        for i, array in enumerate(wanted)
    )
    signature = Signature(inputs=inputs, outputs=outputs)
    graph = lower_program(program, signature, name="sample")
    run_passes(graph, should_check=True)
    return graph, signature


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
