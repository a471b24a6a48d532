"""Recurrent layers of every kind, with any batch and any number of steps, in every format against PyTorch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.formats import load_handler
from edgeconv.formats.handler import Array
from edgeconv.plugin import Job, Json
from edgeconv.plugin.live import LiveCapture
from edgeconv_converters.edge_graph_lowering import worker as edge_graph_lowering
from edgeconv_converters.edge_graph_onnx import worker as edge_graph_onnx
from edgeconv_converters.edge_graph_tflite import worker as edge_graph_tflite
from edgeconv_converters.torch_export.core import CaptureSettings, capture_module
from edgeconv_converters.torchscript import worker as torchscript
from tests.lowering.runtimes import assert_close

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # PyTorch's and TensorFlow's own advice
    pytest.mark.xdist_group("recurrent"),
]

INPUT, HIDDEN = 3, 6
SIZES = [(1, 1), (3, 5), (2, 8), (1, 19), (4, 40)]
FORMATS = ["torch-export", "torchscript", "onnx", "tflite", "savedmodel"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recurrent layer, and whether its initial states are inputs."""

    kind: type[nn.RNNBase]
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    is_stateful: bool = False

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.options.items()]
        return " ".join([self.kind.__name__, *words, *(["stateful"] * self.is_stateful)])


CASES = [
    Case(kind=nn.LSTM, options={"batch_first": True}),
    Case(kind=nn.LSTM, options={"bias": False}, is_stateful=True),
    Case(kind=nn.LSTM, options={"num_layers": 2, "bidirectional": True, "dropout": 0.5}),
    Case(kind=nn.LSTM, options={"proj_size": 4, "batch_first": True}),
    Case(
        kind=nn.LSTM,
        options={"proj_size": 4, "num_layers": 2, "bidirectional": True, "bias": False},
        is_stateful=True,
    ),
    Case(kind=nn.GRU, options={"num_layers": 2, "bidirectional": True, "batch_first": True}),
    Case(kind=nn.GRU, options={"bias": False}, is_stateful=True),
    Case(kind=nn.RNN, options={"num_layers": 2, "batch_first": True}, is_stateful=True),
    Case(kind=nn.RNN, options={"nonlinearity": "relu", "bidirectional": True}),
]


class Network(nn.Module):
    """The layer under names for its inputs."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = case.kind(INPUT, HIDDEN, **case.options)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, hidden: Tensor | None = None, cell: Tensor | None = None
    ) -> object:
        """Outputs and final states."""
        return self.layer(x, hidden if cell is None else (hidden, cell))


def draw_inputs(case: Case, batch: int, steps: int) -> dict[str, Tensor]:
    """Inputs by name."""
    generator = torch.Generator().manual_seed(batch * 100 + steps)
    leading = (batch, steps) if case.options.get("batch_first") else (steps, batch)
    inputs = {"x": torch.randn(*leading, INPUT, generator=generator)}
    if case.is_stateful:
        layers = int(case.options.get("num_layers", 1)) * (
            1 + bool(case.options.get("bidirectional"))
        )
        size = int(case.options.get("proj_size", HIDDEN))
        inputs["hidden"] = torch.randn(layers, batch, size, generator=generator)
        if case.kind is nn.LSTM:
            inputs["cell"] = torch.randn(layers, batch, HIDDEN, generator=generator)
    return inputs


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A network, captured with its batch and its steps dynamic; converts itself to a format."""

    case: Case
    network: Network
    live: LiveCapture
    folder: Path
    context: MutableMapping[str, object]

    def convert(self, format_id: str, folder: Path) -> Path:
        """The file, or folder, of a format."""
        program = self.folder / "model.pt2"
        match format_id:
            case "torch-export":
                return program
            case "torchscript":
                return self._run(torchscript.convert, self.folder, folder / "model.pt")
            case "onnx":
                return self._run(edge_graph_onnx.convert, program, folder / "model.onnx")
        graph = self._run(edge_graph_lowering.convert, program, folder / "graph")
        if format_id == "tflite":
            return self._run(edge_graph_tflite.convert, graph, folder / "model.tflite")
        # Imported late: PyTorch's first export crashes where TensorFlow is there already.
        from edgeconv_converters.edge_graph_savedmodel import worker

        return self._run(worker.convert, graph, folder / "model.savedmodel")

    def _run(
        self,
        convert: Callable[[dict[str, Json], MutableMapping[str, object]], dict[str, Json]],
        source: Path,
        output: Path,
    ) -> Path:
        job = Job(name="m", inputs={"source": source}, output=output, signature=self.live.signature)
        convert(job.to_json(), self.context)
        return output


@pytest.fixture(scope="module", params=CASES, ids=str)
def captured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Captured:
    case: Case = request.param
    folder = tmp_path_factory.mktemp("capture")
    network = Network(case).eval()
    batch, steps = (0, 1) if case.options.get("batch_first") else (1, 0)
    inputs = draw_inputs(case, 2, 7)
    dynamic = {name: {1: "N"} for name in inputs}
    dynamic["x"] = {batch: "N", steps: "T"}
    context: dict[str, object] = {}
    found = capture_module(
        network,
        (),
        inputs,
        dynamic=dynamic,
        settings=CaptureSettings(name="m", output=folder),
        context=context,
    )
    return Captured(case=case, network=network, live=found.live, folder=folder, context=context)


def _wanted(network: Network, inputs: dict[str, Tensor]) -> list[Array]:
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(network(**inputs))
    return [leaf.numpy() for leaf in leaves]


def test_the_operator_stays_whole_and_both_dims_dynamic(captured: Captured) -> None:
    program = captured.live.program
    assert program is not None
    used = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    name = {nn.LSTM: "lstm", nn.GRU: "gru"}.get(
        captured.case.kind, f"rnn_{captured.case.options.get('nonlinearity', 'tanh')}"
    )
    assert used.count(f"aten.{name}.input") == 1
    assert {dim.name for dim in captured.live.signature.dims} == {"N", "T"}
    weights = sum(p.numel() for p in captured.network.parameters())
    held = [*program.state_dict.values(), *program.constants.values()]
    assert sum(tensor.numel() for tensor in held) == weights


@pytest.mark.parametrize("format_id", FORMATS)
def test_every_size_computes_what_pytorch_computes(
    captured: Captured, format_id: str, tmp_path: Path
) -> None:
    path = captured.convert(format_id, tmp_path)
    damaged = copy.deepcopy(captured.network)
    with torch.no_grad():
        damaged.layer.get_parameter("weight_hh_l0").add_(0.01)
    with load_handler(format_id).open(path) as session:
        for batch, steps in SIZES:
            inputs = draw_inputs(captured.case, batch, steps)
            outputs = session.run({name: t.numpy() for name, t in inputs.items()}).outputs
            got = [outputs[spec.name] for spec in captured.live.signature.outputs]
            assert_close(got, _wanted(captured.network, inputs))
            if steps > 1:
                with pytest.raises(AssertionError):
                    assert_close(got, _wanted(damaged, inputs))


def test_onnx_gets_its_own_operators_with_the_weights_in_order(
    captured: Captured, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(captured.convert("onnx", tmp_path)).graph
    nodes = [node for node in graph.node if node.op_type == captured.case.kind.__name__]
    layers = int(captured.case.options.get("num_layers", 1))
    projected = "proj_size" in captured.case.options and "bidirectional" in captured.case.options
    assert len(nodes) == layers * (2 if projected else 1)
    stored = {tensor.name for tensor in graph.initializer}
    assert all(name in stored for node in nodes for name in node.input[1:4] if name)
    assert not {"Loop", "Scan"} & {node.op_type for node in graph.node}


class Careless(nn.Module):
    """Keeps a tensor that is no buffer, beside a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(INPUT, HIDDEN)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The last output, which is kept as well."""
        self.last = self.layer(x)[0][-1]
        return self.last


@pytest.mark.parametrize(("make", "is_told"), [(lambda: nn.GRU(3, 6), False), (Careless, True)])
def test_pytorch_warns_of_the_users_own_tensors_only(
    make: Callable[[], nn.Module], is_told: bool, tmp_path: Path
) -> None:
    settings = CaptureSettings(name="m", output=tmp_path)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        capture_module(make(), (torch.randn(4, 2, INPUT),), settings=settings)
    told = [str(entry.message) for entry in seen if "assigned during export" in str(entry.message)]
    assert bool(told) == is_told
