"""Programs of quantization-aware training keep the scales and integers they were trained with, in TFLite and in ONNX."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torch.ao.quantization.fx._decomposed")  # defines the operators
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")
import onnx
import onnxruntime as ort
import torch
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from edgeconv.errors import InvalidInputError, UnsupportedOperatorsError
from edgeconv.formats import load_handler
from edgeconv.formats.torch_export import HANDLER, load_program
from edgeconv.graph import Graph
from edgeconv.graph.file import read_graph, write_graph
from edgeconv.lowering.channels_first import channels_first_registry
from edgeconv.lowering.program import lower_program
from edgeconv.passes.pipeline import run_passes
from edgeconv.plugin import Job, Json
from edgeconv.plugin.live import LiveCapture
from edgeconv.plugin.tracing import trace_live
from edgeconv.validation.reference import read_reference
from edgeconv_converters.edge_graph_onnx.worker import write_graph_as_onnx
from edgeconv_converters.edge_graph_tflite.worker import write_graph_as_tflite
from edgeconv_converters.torch_export.core import Captured, CaptureSettings, capture_module
from edgeconv_converters.torch_export.prepare import count_parameters
from sample_models.cards import TEST_FILE, folder_of
from sample_models.samples import load_samples

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

NAME = "digits_qat"
MODEL = folder_of(NAME) / "model.pt2"
LEAST_SNR_DB = 30
MOST_OTHERS = 2  # of 397 digits
_OPERATORS = "quantized_decomposed."

Scales = Counter[tuple[float, int]]
Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a program says: scales and zero points of activations, and weights by their scales."""

    activations: set[tuple[float, int]]
    weights: dict[tuple[float, ...], Array]


def _read_trained(program: ExportedProgram) -> Trained:
    """Read off the nodes and the state, without edgeconv."""
    state = {**program.state_dict, **program.constants}
    signature = program.graph_signature
    names = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
    trained = Trained(activations=set(), weights={})
    for node in program.graph.nodes:
        if str(node.target).startswith(f"{_OPERATORS}quantize_per_tensor"):
            trained.activations.add((float(np.float32(node.args[1])), int(node.args[2])))
        if str(node.target).startswith(f"{_OPERATORS}dequantize_per_channel"):
            stored, scales = (state[names[argument.name]].numpy() for argument in node.args[:2])
            trained.weights[tuple(scales.astype(np.float32).tolist())] = stored
    return trained


def _graph(program: ExportedProgram, *, is_channels_first: bool) -> Graph:
    registry = channels_first_registry() if is_channels_first else None
    signature = HANDLER.read_signature(MODEL)
    return lower_program(program, signature, name=NAME, registry=registry)


def _write_tflite(program: ExportedProgram, folder: Path) -> Mapping[str, Json]:
    graph = _graph(program, is_channels_first=False)
    run_passes(graph, should_check=True)
    write_graph(graph, folder / "graph.safetensors")  # as between two steps
    job = Job(name=NAME, inputs={}, output=folder / "net.tflite", signature=graph.signature())
    return write_graph_as_tflite(read_graph(folder / "graph.safetensors"), job).details


def _write_onnx(program: ExportedProgram, folder: Path) -> Mapping[str, Json]:
    graph = _graph(program, is_channels_first=True)
    job = Job(name=NAME, inputs={}, output=folder / "net.onnx", signature=graph.signature())
    return write_graph_as_onnx(graph, job).details


def _read_tflite(path: Path) -> Trained:
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    (graph,) = model.subgraphs
    trained = Trained(activations=set(), weights={})
    for tensor in graph.tensors:
        if tensor.type != schema.TensorType.INT8:
            continue
        scales, points = tensor.quantization.scale, tensor.quantization.zeroPoint
        if model.buffers[tensor.buffer].data is None:
            trained.activations.add((float(scales[0]), int(points[0])))
        else:
            stored = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8)
            trained.weights[tuple(scales.tolist())] = stored.reshape(tensor.shape)
    return trained


def _read_onnx(path: Path) -> Trained:
    graph = onnx.load(path).graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    trained = Trained(activations=set(), weights={})
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            # Stored without a sign, which ONNX Runtime's kernels on x86 ask for.
            assert known[node.input[2]].dtype == np.uint8
            scale, zero = (float(known[name]) for name in node.input[1:])
            trained.activations.add((scale, int(zero) - 128))
        elif node.op_type == "DequantizeLinear" and node.input[0] in known:
            stored, scales, zeros = (known[name] for name in node.input)
            assert stored.dtype in (np.uint8, np.int32)
            if stored.dtype == np.uint8:  # without a sign too: sums of two products do not saturate
                assert set(zeros.flat) == {128}
                trained.weights[tuple(scales.tolist())] = stored.astype(np.int16) - 128
    return trained


def _assert_same(found: Trained, wanted: Trained) -> None:
    """The same scales, and the same integers in whatever order of axes."""
    assert found.activations == wanted.activations
    assert found.weights.keys() == wanted.weights.keys()
    for scales, stored in wanted.weights.items():
        mine = found.weights[scales]
        assert mine.size == stored.size
        axis = next(axis for axis, size in enumerate(mine.shape) if size == len(scales))
        if mine.shape[0] == 1:
            axis = mine.ndim - 1  # depthwise
        rows = np.moveaxis(mine, axis, 0).reshape(len(scales), -1)
        theirs = stored.reshape(len(scales), -1)
        assert np.array_equal(np.sort(rows), np.sort(theirs))


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    return load_program(MODEL)


@pytest.fixture(scope="module")
def written(
    program: ExportedProgram, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Mapping[str, Json], Mapping[str, Json]]:
    folder = tmp_path_factory.mktemp("qat")
    return folder, _write_tflite(program, folder), _write_onnx(program, folder)


Written = tuple[Path, Mapping[str, Json], Mapping[str, Json]]


def test_tflite_holds_the_trained_scales_and_integers(
    written: Written, program: ExportedProgram
) -> None:
    wanted = _read_trained(program)
    assert len(wanted.activations) > 10
    assert len(wanted.weights) == 14
    _assert_same(_read_tflite(written[0] / "net.tflite"), wanted)


def test_onnx_holds_the_trained_scales_and_integers(
    written: Written, program: ExportedProgram
) -> None:
    _assert_same(_read_onnx(written[0] / "net.onnx"), _read_trained(program))


@pytest.mark.parametrize("kind", ["activation", "weight"])
def test_another_scale_is_noticed(kind: str, tmp_path: Path) -> None:
    changed = load_program(MODEL)
    wanted = _read_trained(changed)
    target = "quantize_per_tensor" if kind == "activation" else "dequantize_per_channel"
    for node in changed.graph.nodes:
        if str(node.target).startswith(f"{_OPERATORS}{target}"):
            break
    if kind == "activation":
        scale = node.args[1]
        for other in changed.graph.nodes:
            if len(other.args) > 1 and other.args[1] == scale:
                other.args = (other.args[0], scale * 1.01, *other.args[2:])
    else:
        name = changed.graph_signature.inputs_to_buffers[node.args[1].name]
        changed.state_dict[name][0] *= 1.01
    _write_tflite(changed, tmp_path)
    _write_onnx(changed, tmp_path)
    for found in (_read_tflite(tmp_path / "net.tflite"), _read_onnx(tmp_path / "net.onnx")):
        with pytest.raises(AssertionError):
            _assert_same(found, wanted)


def test_integers_that_are_weights_are_counted_as_such(program: ExportedProgram) -> None:
    module = program.module()
    biases = sum(tensor.numel() for tensor in module.parameters())
    weights = sum(stored.size for stored in _read_trained(program).weights.values())
    assert weights > 20_000
    assert count_parameters(module) == biases + weights
    assert (
        count_parameters(nn.BatchNorm1d(3)) == 6
    )  # statistics, and how many batches they are of, are no weights


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_integer_files_answer_as_the_program_on_the_test_set(
    suffix: str, written: Written, program: ExportedProgram
) -> None:
    samples = load_samples(folder_of(NAME) / TEST_FILE, ("image",))
    images, labels = samples.only_input(), samples.extras["label"]
    with torch.no_grad():
        wanted = program.module()(torch.from_numpy(images)).numpy()
    with load_handler(suffix).open(written[0] / f"net.{suffix}") as session:
        got = session.run({"image": images}).outputs["output"]
    noise = np.square(got - wanted).sum()
    assert 10 * np.log10(np.square(wanted).sum() / noise) > LEAST_SNR_DB
    assert (got.argmax(1) != wanted.argmax(1)).sum() <= MOST_OTHERS
    right = [(array.argmax(1) == labels).sum() for array in (got, wanted)]
    assert abs(int(right[0]) - int(right[1])) <= MOST_OTHERS
    assert right[1] > 0.97 * len(labels)


def test_all_of_tflite_computes_with_integers(written: Written) -> None:
    details = written[1]
    assert details["float_operators"] == {}
    operators = details["operators"]
    assert isinstance(operators, dict)
    ends = operators["QUANTIZE"], operators["DEQUANTIZE"]
    assert ends == (1, 1)
    assert details["integer_operators"] == sum(map(int, map(str, operators.values()))) - 2
    assert (written[0] / "net.tflite").stat().st_size < 70_000


def test_onnx_runtime_fuses_all_of_onnx_into_integer_kernels(
    written: Written, tmp_path: Path
) -> None:
    assert written[2]["float_operators"] == {}
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(str(written[0] / "net.onnx"), options)
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    moved = {"Reshape", "Transpose"}
    assert (counts.pop("QuantizeLinear"), counts.pop("DequantizeLinear")) == (1, 1)
    assert {op for op in counts if not op.startswith("Q")} <= moved


class Quantizing(nn.Module):
    """What `convert_pt2e` makes of a module, in small."""

    def __init__(
        self, low: int = -128, high: int = 127, dtype: torch.dtype = torch.int8, zero: int = 3
    ) -> None:
        super().__init__()
        self.zero = zero
        self.limits = (low, high, dtype)
        self.layer = nn.Linear(4, 3)

    def _round(self, x: Tensor, scale: float, zero: int) -> Tensor:
        ops = torch.ops.quantized_decomposed
        stored = ops.quantize_per_tensor(x, scale, zero, *self.limits)
        rounded: Tensor = ops.dequantize_per_tensor(stored, scale, zero, *self.limits)
        return rounded

    def forward(self, x: Tensor) -> Tensor:
        return self._round(torch.relu(self.layer(self._round(x, 0.05, 3))), 0.02, self.zero)


def _capture(module: nn.Module, folder: Path, *inputs: Tensor) -> Captured:
    return capture_module(module, inputs, settings=CaptureSettings(name="net", output=folder))


def _convert(captured: Captured, path: Path) -> Mapping[str, Json]:
    live = captured.live
    assert live.program is not None
    graph = lower_program(live.program, live.signature, name="net")
    run_passes(graph)
    job = Job(name="net", inputs={}, output=path, signature=live.signature)
    return write_graph_as_tflite(graph, job).details


@pytest.mark.parametrize(
    "net", [Quantizing(0, 100, torch.uint8), Quantizing(-7, 127), Quantizing(-8, 7)]
)
def test_fewer_integers_than_the_dtype_has_stay_as_few(net: nn.Module, tmp_path: Path) -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) * 5
    _convert(_capture(net, tmp_path / "capture", x), tmp_path / "net.tflite")
    with load_handler("tflite").open(tmp_path / "net.tflite") as session:
        got = session.run({"x": x.numpy()}).outputs["output"]
    wanted = net(x).detach().numpy()
    assert (np.abs(got - wanted) > 0.03).sum() == 0  # a step is 0.02
    assert (np.abs(got - wanted) > 0.01).mean() < 0.02


@pytest.mark.parametrize(("zero", "is_kept"), [(3, True), (-128, False)])
def test_onnx_leaves_out_a_relu_only_where_the_integers_cut_off_the_same(
    zero: int, *, is_kept: bool, tmp_path: Path
) -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    net = Quantizing(zero=zero)
    live = _capture(net, tmp_path / "capture", x).live
    assert live.program is not None
    graph = lower_program(
        live.program, live.signature, name="net", registry=channels_first_registry()
    )
    job = Job(name="net", inputs={}, output=tmp_path / "net.onnx", signature=live.signature)
    operators = write_graph_as_onnx(graph, job).details["operators"]
    assert isinstance(operators, dict)
    assert ("Relu" in operators) is is_kept
    with load_handler("onnx").open(tmp_path / "net.onnx") as session:
        got = session.run({"x": x.numpy()}).outputs["output"]
    assert (np.abs(got - net(x).detach().numpy()) > 0.03).sum() == 0  # a step is 0.02


class Rescaling(Quantizing):
    """It takes integers of one scale for those of another."""

    def forward(self, x: Tensor) -> Tensor:
        ops = torch.ops.quantized_decomposed
        stored = ops.quantize_per_tensor(x, 0.05, 3, *self.limits)
        result: Tensor = ops.dequantize_per_tensor(stored, 0.2, -8, *self.limits)
        return result


def test_integers_that_are_read_with_another_scale_have_it(tmp_path: Path) -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    _convert(_capture(Rescaling(), tmp_path / "capture", x), tmp_path / "net.tflite")
    with load_handler("tflite").open(tmp_path / "net.tflite") as session:
        got = session.run({"x": x.numpy()}).outputs["output"]
    assert np.allclose(got, Rescaling()(x).numpy(), atol=1e-5)


class Branching(Quantizing):
    """It rounds in one of two branches."""

    def forward(self, x: Tensor) -> Tensor:
        chosen: Tensor = torch.cond(
            x.sum() > 0,
            lambda x: self._round(x, 0.05, 3),
            lambda x: self._round(x * 2, 0.1, 0),
            (x,),
        )
        return chosen


def test_branches_round_as_well(tmp_path: Path) -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    _convert(_capture(Branching(), tmp_path / "capture", x), tmp_path / "net.tflite")
    with load_handler("tflite").open(tmp_path / "net.tflite") as session:
        for inputs in (x.abs(), -x.abs()):
            got = session.run({"x": inputs.numpy()}).outputs["output"]
            assert np.allclose(got, Branching()(inputs).numpy(), atol=1e-5)


class Dynamic(nn.Module):
    """Its scale follows from what it sees."""

    def forward(self, x: Tensor) -> Tensor:
        ops = torch.ops.quantized_decomposed
        scale, zero = ops.choose_qparams(x, -128, 127, 1e-6, torch.int8)
        stored = ops.quantize_per_tensor.tensor(x, scale, zero, -128, 127, torch.int8)
        result: Tensor = ops.dequantize_per_tensor.tensor(
            stored, scale, zero, -128, 127, torch.int8
        )
        return result


def test_scales_that_are_computed_while_running_are_refused_in_so_many_words(
    tmp_path: Path,
) -> None:
    captured = _capture(Dynamic(), tmp_path, torch.randn(2, 3))
    with pytest.raises(UnsupportedOperatorsError) as caught:
        _convert(captured, tmp_path / "net.tflite")
    assert any("only scales that training fixed" in line for line in caught.value.details)


def test_the_noise_of_a_rounding_model_is_that_of_values_between_two_integers(
    tmp_path: Path,
) -> None:
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    captured = _capture(Quantizing(), tmp_path, x)
    reference = read_reference(tmp_path / "reference")
    assert reference.noise_source == "rounding"
    # At least one output is rounded the other way, by one step of 0.02; three of these pass.
    assert 0.3 * 0.02 <= reference.noise_floor["output"] * 1.001 < 0.3 * 0.1
    assert all("rounded the other way" in warning for warning in captured.warnings)


class Fake(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)
        return rounded


def _traced() -> nn.Module:
    exported = torch.export.export(Fake(), (torch.randn(2, 3),)).module()
    assert isinstance(exported, fx.GraphModule)
    return exported


def _observed() -> nn.Module:
    pytest.importorskip("torchao")
    from torchao.quantization.pt2e.observer import MinMaxObserver

    return nn.Sequential(nn.Linear(3, 3), MinMaxObserver())


@pytest.mark.parametrize("make", [_traced, _observed])
def test_a_prepared_model_is_sent_back_to_be_converted(make: object, tmp_path: Path) -> None:
    assert callable(make)
    with pytest.raises(InvalidInputError, match="not converted") as caught:
        _capture(make(), tmp_path, torch.randn(2, 3))
    assert "convert_pt2e" in str(caught.value.hint)


def test_its_torchscript_loads_where_nothing_defines_the_operators(tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    net = torch.export.export(Quantizing(), (x,)).module()
    live: LiveCapture = _capture(net, tmp_path, x).live
    trace_live(live).script.save(str(tmp_path / "net.pt"))
    program = f"import torch; print(torch.jit.load({str(tmp_path / 'net.pt')!r})(torch.ones(2, 4)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert live.program is not None  # and the module is as it was
    nodes = [
        n for m in live.module.modules() if isinstance(m, fx.GraphModule) for n in m.graph.nodes
    ]
    assert all("function" not in str(node.target) for node in nodes)
