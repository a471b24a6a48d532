"""ONNX by both of PyTorch's exporters: names, dims, opset, the checker, and what neither can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from edgeconv.errors import CaptureError, ConversionError, StepError, UnsupportedOperatorsError
from edgeconv.formats import load_handler
from edgeconv.plugin import JobResult
from edgeconv.source import parse_model
from edgeconv_converters.torch_export.build import build_source
from edgeconv_converters.torch_onnx import worker
from tests.converters import branching
from tests.converters.model import Model, capture, draw

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.classify = nn.Linear(4, 5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.conv(image))
        return {"logits": self.classify(features.flatten(2).mean(2)), "features": features}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("net")
    return capture(_Net(), (draw(2, 3, 8, 8),), folder, dynamic={"image": {0: "N"}})


def _from_program(model: Model, output: Path) -> JobResult:
    return model.convert(worker.convert_program, output, source=model.folder / "model.pt2")


def _from_module(model: Model, output: Path) -> JobResult:
    return model.convert(worker.convert_module, output)


_BOTH = pytest.mark.parametrize(
    ("export", "opset"),
    [(_from_program, 20), (_from_module, 17)],
    ids=["torch-onnx", "torch-onnx-torchscript"],
)
Export = Callable[[Model, Path], JobResult]


@_BOTH
def test_names_dims_and_metadata_are_in_the_file(
    net: Model, tmp_path: Path, export: Export, opset: int
) -> None:
    path = tmp_path / "net.onnx"
    result = export(net, path)
    assert net.verify(path, "onnx").passed
    model = onnx.load(path)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits", "features"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert load_handler("onnx").read_metadata(path)["author"] == "Ada"
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    assert opsets["ai.onnx"] == opset
    assert result.details["opset"] == opsets
    assert result.details["ir_version"] == model.ir_version


@_BOTH
def test_equal_models_give_equal_files(
    net: Model, tmp_path: Path, export: Export, opset: int
) -> None:
    paths = [tmp_path / "first.onnx", tmp_path / "second.onnx"]
    for path in paths:
        export(net, path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"test_torch_onnx.py" not in first


@_BOTH
def test_a_damaged_weight_fails_verification(
    net: Model, tmp_path: Path, export: Export, opset: int
) -> None:
    path = tmp_path / "net.onnx"
    export(net, path)
    model = onnx.load(path)
    (weight,) = (item for item in model.graph.initializer if list(item.dims) == [4, 3, 3, 3])
    array = onnx.numpy_helper.to_array(weight).copy()
    array[0, 0, 0, 0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(model, path)
    verdict = net.verify(path, "onnx")
    assert not verdict.passed
    assert "is off by" in verdict.summary()


def test_a_file_that_the_checker_refuses_is_not_given(
    net: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unname(model: onnx.ModelProto, *_: object) -> None:
        model.graph.node[0].op_type = "NoSuchOperator"

    monkeypatch.setattr(worker, "put_record", unname)
    with pytest.raises(ConversionError, match=r"onnx\.checker refuses") as caught:
        _from_program(net, tmp_path / "net.onnx")
    assert "NoSuchOperator" in caught.value.why


def test_a_script_from_a_file_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "net.pt"
    traced = torch.jit.trace(_Net().eval(), (draw(2, 3, 8, 8),), strict=False)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, str(path))
    built = build_source(parse_model(str(path)))
    dynamic = {"image": {0: "N"}}
    model = capture(built.module, (draw(2, 3, 8, 8),), tmp_path / "capture", dynamic=dynamic)
    _from_module(model, tmp_path / "net.onnx")
    assert model.verify(tmp_path / "net.onnx", "onnx").passed


def test_a_branch_is_refused_with_the_users_line(tmp_path: Path) -> None:
    model = capture(branching.Branch(), (draw(2, 4),), tmp_path / "capture")
    assert model.live.program is None
    with pytest.raises(CaptureError, match="control flow") as caught:
        _from_module(model, tmp_path / "net.onnx")
    (line,) = caught.value.details
    assert line.endswith("if features.sum() > 0:")
    assert "branching.py:" in line


def test_a_branch_of_a_script_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    script = torch.jit.script(branching.Branch().eval())
    model = capture(script, (draw(2, 4),), tmp_path / "capture")
    _from_module(model, tmp_path / "net.onnx")
    assert "If" in [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    sums = [float(case.inputs()["features"].sum()) for case in model.reference.cases]
    assert min(sums) < 0 < max(sums)
    assert model.verify(tmp_path / "net.onnx", "onnx").passed


class _Careless(nn.Module):
    def forward(self, first: Tensor, unused: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        return first + last, first


@_BOTH
def test_an_input_that_nothing_reads_keeps_its_place(
    tmp_path: Path, export: Export, opset: int
) -> None:
    examples = (draw(2, 3), torch.ones(2, 4, dtype=torch.int64), draw(2, 3))
    dynamic = {name: {0: "N"} for name in ("first", "unused", "last")}
    model = capture(_Careless(), examples, tmp_path / "capture", dynamic=dynamic)
    export(model, tmp_path / "net.onnx")
    signature = load_handler("onnx").read_signature(tmp_path / "net.onnx")
    assert str(signature.inputs[1]) == "unused:int64[N,4]"
    verdict = model.verify(tmp_path / "net.onnx", "onnx")
    assert verdict.passed, verdict.summary()


class _Special(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.special.bessel_j0(x) + torch.special.bessel_j0(x * 2)
        z: Tensor = torch.igamma(x.abs() + 1, y.abs())
        return z


@_BOTH
def test_all_operators_that_are_missing_are_told_at_once(
    tmp_path: Path, export: Export, opset: int
) -> None:
    model = capture(_Special(), (draw(2, 3),), tmp_path / "capture")
    with pytest.raises(UnsupportedOperatorsError) as caught:
        export(model, tmp_path / "net.onnx")
    bessel, igamma = caught.value.details
    assert "bessel_j0" in bessel
    assert " x2, first at test_torch_onnx.py:" in bessel
    assert "igamma" in igamma
    assert " x1, first at test_torch_onnx.py:" in igamma


class _Huge(nn.Module):
    """Weights of 2.4 GB that nobody ever touches, so that they take no memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(600_000_000))


def test_what_no_file_can_hold_is_refused_before_it_is_exported(net: Model, tmp_path: Path) -> None:
    huge = replace(net.live, module=_Huge())
    model = Model(folder=net.folder, context={"edgeconv.live": huge})
    with pytest.raises(
        ConversionError, match=r"larger than torch\.onnx .TorchScript. can write"
    ) as caught:
        _from_module(model, tmp_path / "net.onnx")
    assert "2400000000 bytes" in caught.value.why


def test_shared_weights_count_once(net: Model, tmp_path: Path) -> None:
    half = torch.empty(400_000_000)  # 1.6 GB: twice that would be too much
    huge = _Huge()
    huge.weight, huge.same = nn.Parameter(half), nn.Parameter(half)
    model = Model(folder=net.folder, context={"edgeconv.live": replace(net.live, module=huge)})
    with pytest.raises(StepError, match=r"torch\.jit\.trace fails"):  # it came so far
        _from_module(model, tmp_path / "net.onnx")


class _Bernoulli(nn.Module):
    def forward(self, logit: Tensor) -> Tensor:
        return nn.functional.logsigmoid(logit)


def test_the_logarithm_of_a_small_sigmoid_is_finite(tmp_path: Path) -> None:
    model = capture(_Bernoulli(), (draw(2, 3),), tmp_path / "capture")
    path = tmp_path / "bernoulli.onnx"
    _from_program(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = torch.tensor([[-120.0, -25.0, -14.8], [0.0, 14.0, 90.0]])
    (got,) = session.run(None, {"logit": logits.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), nn.functional.logsigmoid(logits))
