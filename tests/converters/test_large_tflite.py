"""A TFLite file over 2 GB has its weights behind the flatbuffer; here the limit is lowered to get there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

from torch import Tensor, nn

from edgeconv.formats import load_handler
from edgeconv.formats.tflite_file import StoredBuffer, write_tflite
from edgeconv.graph.file import read_graph, write_graph
from edgeconv.plugin import Job, JobResult
from edgeconv_converters.edge_graph_tflite.worker import write_graph_as_tflite
from tests.lowering.case import case
from tests.lowering.runtimes import Lowered, assert_close, lower_case

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(500, 32)
        self.head = nn.Linear(32, 16)
        self.zeros = nn.Parameter(torch.zeros(4))  # as many bytes as the runtime's version has

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.head(self.table(ids)).tanh().unflatten(-1, (4, 4)) + self.zeros
        return scores


@pytest.fixture(scope="module")
def lowered() -> Lowered:
    torch.manual_seed(0)
    return lower_case(case("table", Table().eval(), torch.tensor([[0, 5, 499]])))


def _write(lowered: Lowered, folder: Path, limit: int) -> JobResult:
    stored = folder / "case.safetensors"
    write_graph(lowered.graph, stored)
    job = Job(name="case", inputs={}, output=folder / "case.tflite", signature=lowered.signature)
    return write_graph_as_tflite(read_graph(stored), job, largest_flatbuffer=limit)


def _run(path: Path, lowered: Lowered) -> None:
    with load_handler("tflite").open(path) as session, torch.no_grad():
        got = session.run({"in_0": lowered.case.inputs[0].numpy()}).outputs["out_0"]
        assert_close([got], [lowered.module(*lowered.case.inputs)[0].numpy()])


@pytest.mark.parametrize("limit", [20_000, 2**31])
def test_the_weights_are_where_the_size_says(lowered: Lowered, tmp_path: Path, limit: int) -> None:
    result = _write(lowered, tmp_path, limit)
    model = schema.ModelT.InitFromPackedBuf(result.output.read_bytes())
    filled = [buffer for buffer in model.buffers if buffer.data is not None or buffer.size]
    is_large = limit == 20_000
    assert len(filled) > 4
    assert all((buffer.data is None) == is_large for buffer in filled)
    assert all((buffer.offset > 1) == is_large for buffer in filled)
    assert all(buffer.offset % 16 == 0 for buffer in filled)
    assert result.details["has_outside_buffers"] == is_large
    assert any("2 GB" in warning for warning in result.warnings) == is_large
    _run(result.output, lowered)


def test_the_file_says_which_runtime_finds_them(lowered: Lowered, tmp_path: Path) -> None:
    small = _write(lowered, tmp_path, 2**31)
    facts = load_handler("tflite").read_facts(small.output)  # type: ignore[attr-defined]
    assert tuple(map(int, facts.oldest_runtime.split("."))) < (2, 15)
    large = _write(lowered, tmp_path, 20_000)
    facts = load_handler("tflite").read_facts(large.output)  # type: ignore[attr-defined]
    assert facts.oldest_runtime == large.details["oldest_runtime"] == "2.15.0"


def test_buffers_that_come_late_are_noticed(tmp_path: Path) -> None:
    buffers = [StoredBuffer()]

    def pack(builder: object) -> int:
        buffers.append(StoredBuffer(np.zeros(3, np.uint8)))
        model = schema.ModelT()
        model.buffers = buffers
        return int(model.Pack(builder))

    with pytest.raises(ValueError, match="1 buffers were added"):
        write_tflite(tmp_path / "net.tflite", pack, buffers)
