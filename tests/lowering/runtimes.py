"""Captures a case, lowers it, writes it in a format, and runs it there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeconv.formats import load_handler
from edgeconv.formats.handler import Array
from edgeconv.graph import Graph
from edgeconv.lowering.program import lower_program
from edgeconv.lowering.retracing import keep_recurrent_operators
from edgeconv.passes import run_passes
from edgeconv.plugin import Job
from edgeconv.signature import DType, Signature, TensorSpec
from tests.lowering.cases import Case

__all__ = ["assert_close", "lower_case", "run_graph"]


class _Flat(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.function = case.function

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(_tensors(self.function(*inputs)))


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    assert isinstance(value, Sequence)
    return [tensor for item in value for tensor in _tensors(item)]


def _specs(prefix: str, tensors: Sequence[torch.Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=f"{prefix}_{i}",
            dtype=DType(str(t.dtype).removeprefix("torch.")),
            shape=tuple(t.shape),
        )
        for i, t in enumerate(tensors)
    )


def lower_case(case: Case) -> tuple[Graph, Signature, list[Array]]:
    """The optimized graph of a case, its signature, and what PyTorch computes."""
    module = _Flat(case).eval()
    with torch.no_grad():
        wanted = module(*case.inputs)
    with keep_recurrent_operators():
        program = torch.export.export(module, case.inputs, strict=False)
    signature = Signature(inputs=_specs("in", case.inputs), outputs=_specs("out", wanted))
    graph = lower_program(program, signature, name="case")
    run_passes(graph, should_check=True)
    return graph, signature, [tensor.detach().numpy() for tensor in wanted]


def run_graph(
    format_id: str, graph: Graph, signature: Signature, case: Case, folder: Path
) -> list[Array]:
    """What the written file computes in its own runtime."""
    job = Job(name="case", inputs={}, output=folder / "case", signature=signature)
    if format_id == "tflite":
        from edgeconv_converters.edge_graph_tflite.worker import write_graph_as_tflite

        write_graph_as_tflite(graph, job)
    else:
        from edgeconv_converters.edge_graph_savedmodel.worker import write_graph_as_savedmodel

        write_graph_as_savedmodel(graph, job)
    inputs = {f"in_{i}": tensor.numpy() for i, tensor in enumerate(case.inputs)}
    with load_handler(format_id).open(job.output) as session:
        outputs = session.run(inputs).outputs
    return [outputs[spec.name] for spec in signature.outputs]


def assert_close(got: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Equal dtypes and shapes; integers equal, floats within rounding of the largest value."""
    for mine, right in zip(got, wanted, strict=True):
        assert (mine.dtype, mine.shape) == (right.dtype, right.shape)
        if right.dtype.kind == "f":
            largest = float(np.abs(np.asarray(right, np.float64)).max(initial=1e-30))
            np.testing.assert_allclose(
                np.asarray(mine, np.float64),
                np.asarray(right, np.float64),
                rtol=0,
                atol=4e-6 * largest,
            )
        else:
            np.testing.assert_array_equal(mine, right)
