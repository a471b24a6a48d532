"""Files that are captured again keep the names, dims and examples they were saved with."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.formats import load_handler
from edgeconv.plugin import Job, Json
from edgeconv.signature import DType, Signature
from edgeconv.source import parse_inputs, parse_model
from edgeconv_converters.torch_export.build import build_source
from edgeconv_converters.torch_export.worker import capture
from tests.conftest import Delivered

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("artifacts"),
    pytest.mark.filterwarnings("ignore"),
]


def _signature(model: Path, output: Path, *inputs: str) -> Signature:
    options: dict[str, Json] = {
        "source": parse_model(str(model)).to_json(),
        "inputs": [cast("Json", item.to_json()) for item in parse_inputs(inputs)],
        "samples": None,
    }
    job = Job(name="net", inputs={}, output=output, options=options)
    details = cast("dict[str, Json]", capture(job.to_json(), {})["details"])
    return Signature.from_json(cast("dict[str, object]", details["signature"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pair", "masked", "twins"])
def test_a_program_of_edgeconvs_keeps_its_signature(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    delivered: Delivered = request.getfixturevalue(name)
    artifact = delivered.artifacts["torch-export"]
    assert _signature(artifact.path, tmp_path / "capture") == artifact.signature


@pytest.mark.slow
def test_input_on_the_command_line_wins(pair: Delivered, tmp_path: Path) -> None:
    found = _signature(
        pair.artifacts["torch-export"].path,
        tmp_path / "capture",
        "tokens:int64[2,7]",
        "image:float32[2,6,4,4]",
    )
    assert [str(spec) for spec in found.inputs] == ["tokens:int64[2,7]", "image:float32[2,6,4,4]"]
    assert [spec.name for spec in found.outputs] == ["scores", "best"]
    assert found.dims == ()


@pytest.mark.slow
def test_a_script_of_edgeconvs_says_what_goes_in_and_out(pair: Delivered) -> None:
    artifact = pair.artifacts["torchscript"]
    built = build_source(parse_model(str(artifact.path)))
    assert tuple(spec.tensor for spec in built.specs) == artifact.signature.inputs
    assert all(spec.dims == artifact.signature.dims for spec in built.specs)
    assert built.output_names == ("scores", "best")


class Net(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        joined = torch.cat([left, right], 1)
        return {"sum": joined.sum(1), "joined": joined}


def test_a_program_of_another_tool_keeps_its_dims(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    batch, width = torch.export.Dim("batch", max=64), torch.export.Dim("width", min=3, max=9)
    program = torch.export.export(
        Net(),
        (torch.randn(2, 4), torch.randn(2, 10)),
        dynamic_shapes=({0: batch, 1: width}, {0: batch, 1: 2 * width + 2}),
    )
    torch.export.save(program, path)
    found = _signature(path, tmp_path / "capture")
    assert [str(spec) for spec in found.inputs] == [
        "left:float32[left_0,left_1]",
        "right:float32[left_0,2*left_1 + 2]",
    ]
    assert [str(spec) for spec in found.outputs] == [
        "sum:float32[left_0]",
        "joined:float32[left_0,3*left_1 + 2]",
    ]
    assert [(dim.name, dim.example, dim.min, dim.max) for dim in found.dims] == [
        ("left_0", 2, 1, 64),
        ("left_1", 4, 3, 9),
    ]


def test_a_program_without_dynamic_dims_has_none(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    example = (torch.randn(2, 4), torch.randn(2, 10))
    torch.export.save(torch.export.export(Net(), example), path)
    found = _signature(path, tmp_path / "capture")
    assert found.dims == ()
    assert [spec.shape for spec in found.inputs] == [(2, 4), (2, 10)]


class Same(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


@pytest.mark.parametrize("dtype", list(DType))
def test_every_dtype_of_a_program_is_read(tmp_path: Path, dtype: DType) -> None:
    """The numbers in the file are PyTorch's own, which wrote it."""
    path = tmp_path / "same.pt2"
    example = torch.zeros(3, dtype=getattr(torch, dtype.value))
    torch.export.save(torch.export.export(Same(), (example,)), path)
    found = load_handler("torch-export").read_signature(path)
    assert [str(spec) for spec in found.inputs] == [f"x:{dtype}[3]"]
    assert [str(spec) for spec in found.outputs] == [f"output:{dtype}[3]"]


def test_another_format_does_not_enter_here(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a\x12\x00")
    with pytest.raises(UsageError, match="'onnx', which cannot be captured"):
        build_source(parse_model(str(path)))
