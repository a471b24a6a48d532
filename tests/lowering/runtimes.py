"""Captures a case, lowers it, writes it in a format, and runs it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch._dynamo  # brings Triton, which crashes when it is loaded after TensorFlow
from torch import nn

from edgeconv.dims import Size, evaluate, parse_size
from edgeconv.formats import load_handler
from edgeconv.graph.file import read_graph, write_graph
from edgeconv.lowering.channels_first import channels_first_registry
from edgeconv.lowering.program import lower_program
from edgeconv.lowering.retracing import keep_recurrent_operators
from edgeconv.passes import run_passes
from edgeconv.plugin import Job
from edgeconv.signature import Dim, Signature, TensorSpec
from edgeconv_converters.torch_export.arrays import dtype_of

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array, Session
    from edgeconv.graph import Graph
    from tests.lowering.case import Case

__all__ = ["Lowered", "assert_case", "assert_close", "lower_case", "open_written"]


class _Flat(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.function = case.function

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_tensors(self.function(*inputs)))


@dataclass(frozen=True)
class Lowered:
    """A case as a graph.

    Attributes:
        graph: Optimized.
        signature: Of the graph.
        module: What it was made from.
    """

    case: Case
    graph: Graph
    signature: Signature
    module: nn.Module

    def runs(self) -> Iterator[tuple[dict[str, Array], list[Array]]]:
        """Inputs and what PyTorch computes: the case's own, and others where sizes are dynamic."""
        for growth in self.case.growths if self.signature.dims else (0,):
            sizes = {dim.name: dim.example + growth for dim in self.signature.dims}
            tensors = [
                _resize(tensor, spec.concrete_shape(sizes))
                for tensor, spec in zip(self.case.inputs, self.signature.inputs, strict=True)
            ]
            with torch.no_grad():
                wanted = self.module(*tensors)
            arrays = {f"in_{i}": tensor.numpy() for i, tensor in enumerate(tensors)}
            yield arrays, [tensor.detach().numpy() for tensor in wanted]


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    assert isinstance(value, Sequence)
    return [tensor for item in value for tensor in _tensors(item)]


def _resize(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The tensor repeated or cut, so that its values stay such as the case takes."""
    for axis, size in enumerate(shape):
        tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor


def _shapes(case: Case) -> list[tuple[Size, ...]]:
    dynamic: list[Mapping[int, str]] = [*case.dynamic, *[{}] * len(case.inputs)]
    return [
        tuple(
            parse_size(named[axis]) if axis in named else size for axis, size in enumerate(t.shape)
        )
        for t, named in zip(case.inputs, dynamic, strict=False)
    ]


def _dims(case: Case) -> tuple[Dim, ...]:
    """Each dim, with the value that gives the sizes of the case's own inputs."""
    found: dict[str, Dim] = {}
    for tensor, named in zip(case.inputs, case.dynamic, strict=False):
        for axis, text in named.items():
            name = next(part for part in text.replace("*", " ").split() if part.isalpha())
            size = parse_size(text)
            example = next(
                n for n in range(1, 99) if evaluate(size, {name: n}) == tensor.shape[axis]
            )
            found.setdefault(name, Dim(name=name, example=example))
    return tuple(found.values())


def lower_case(case: Case, format_id: str = "tflite") -> Lowered:
    """The graph of a case as the writer of a format takes it: optimized, or with channels first for ONNX."""
    module = _Flat(case).eval()
    with (
        torch.no_grad()
    ):  # first of all: a tensor that is made while a program is traced is no real one
        results = module(*case.inputs)
    shapes = _shapes(case)
    hints = tuple(
        {a: torch.export.Dim.DYNAMIC for a, size in enumerate(shape) if not isinstance(size, int)}
        for shape in shapes
    )
    with keep_recurrent_operators():
        program = torch.export.export(
            module, case.inputs, dynamic_shapes=(hints,) if case.dynamic else None, strict=False
        )
    inputs = tuple(
        TensorSpec(name=f"in_{i}", dtype=dtype_of(t), shape=shape)
        for i, (t, shape) in enumerate(zip(case.inputs, shapes, strict=True))
    )
    outputs = tuple(
        TensorSpec(name=f"out_{i}", dtype=dtype_of(t), shape=tuple(t.shape))
        for i, t in enumerate(results)
    )
    signature = Signature(inputs=inputs, outputs=outputs, dims=_dims(case))
    if format_id == "onnx":
        registry = channels_first_registry()
        graph = lower_program(program, signature, name="case", registry=registry)
    else:
        graph = lower_program(program, signature, name="case")
        run_passes(graph, should_check=True)
    outputs = tuple(TensorSpec(name=t.name, dtype=t.dtype, shape=t.shape) for t in graph.outputs)
    signature = Signature(inputs=inputs, outputs=outputs, dims=signature.dims)
    return Lowered(case, graph, signature, module)


@contextmanager
def open_written(format_id: str, lowered: Lowered, folder: Path) -> Iterator[Session]:
    """The graph, stored and read again as on its way to a writer, written and opened in its own runtime."""
    stored = folder / "case.safetensors"
    job = Job(name="case", inputs={}, output=folder / "case", signature=lowered.signature)
    if format_id != "onnx":
        write_graph(lowered.graph, stored)
    if format_id == "onnx":
        from edgeconv_converters.edge_graph_onnx.worker import write_graph_as_onnx

        write_graph_as_onnx(lowered.graph, job)
    elif format_id == "tflite":
        from edgeconv_converters.edge_graph_tflite.worker import write_graph_as_tflite

        write_graph_as_tflite(read_graph(stored), job)
    else:
        from edgeconv_converters.edge_graph_savedmodel.worker import write_graph_as_savedmodel

        write_graph_as_savedmodel(read_graph(stored), job)
    with load_handler(format_id).open(job.output) as session:
        yield session


def assert_case(format_id: str, lowered: Lowered, folder: Path) -> None:
    """The written file computes what PyTorch computes, at all sizes that are tried."""
    with open_written(format_id, lowered, folder) as session:
        for inputs, wanted in lowered.runs():
            outputs = session.run(inputs).outputs
            assert_close([outputs[spec.name] for spec in lowered.signature.outputs], wanted)


# Rounding to half the digits makes single steps as large.
_TOLERANCE = {"float16": 4e-3, "float32": 4e-6, "float64": 4e-6}


def assert_close(got: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Equal dtypes and shapes; integers equal, floats within rounding of the largest value."""
    for mine, right in zip(got, wanted, strict=True):
        assert (mine.dtype, mine.shape) == (right.dtype, right.shape)
        if right.dtype.kind != "f":
            np.testing.assert_array_equal(mine, right)
            continue
        finite = right[np.isfinite(right)]
        largest = float(np.abs(np.asarray(finite, np.float64)).max(initial=1e-30))
        np.testing.assert_allclose(
            np.asarray(mine, np.float64),
            np.asarray(right, np.float64),
            rtol=0,
            atol=_TOLERANCE[right.dtype.name] * largest,
        )
