"""Images go in and come out channels last where that is asked for, in every format, and the artifacts say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import edgeconv as ec
from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.signature import Layout

pytest.importorskip("torch")
pytest.importorskip("tensorflow")
import torch
from torch import nn

from edgeconv.formats import load_handler
from edgeconv.formats.tflite import TfliteHandler

pytestmark = pytest.mark.integration

_FORMATS = ("onnx", "torchscript", "savedmodel", "tflite", "torch-export")


class _Camera(nn.Module):
    """An image and a number in; a mask and scores out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.mask = nn.Conv2d(8, 2, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, image: torch.Tensor, gain: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(image / 255).relu()
        return {"mask": (self.mask(x) * gain).sigmoid(), "scores": self.head(x.mean((2, 3)))}


@pytest.fixture(scope="module")
def camera() -> nn.Module:
    torch.manual_seed(0)
    return _Camera().eval()


@pytest.fixture(scope="module")
def model(camera: nn.Module) -> ec.Model:
    inputs = (torch.rand(2, 3, 8, 12) * 255, torch.ones(1))
    dynamic = {"image": {0: "N", 2: "H"}}
    samples = {"image": np.full((1, 3, 10, 12), 9, "float32"), "gain": np.ones((1, 1), "float32")}
    return ec.capture(camera, inputs, name="camera", dynamic=dynamic, samples=samples)


@pytest.fixture(scope="module")
def artifacts(model: ec.Model, tmp_path_factory: pytest.TempPathFactory) -> ec.ConversionResult:
    out = tmp_path_factory.mktemp("nhwc")
    samples = {"image": np.ones((1, 3, 6, 12), "float32"), "gain": np.ones((1, 1), "float32")}
    return ec.convert(model, to=_FORMATS, out=out, layout="nhwc", samples=samples)


def test_the_layout_of_images_is_known_without_asking(model: ec.Model) -> None:
    assert model.signature is not None
    specs = (*model.signature.inputs, *model.signature.outputs)
    assert {spec.name: spec.layout for spec in specs} == {
        "image": Layout.NCHW,
        "gain": Layout.NONE,
        "mask": Layout.NCHW,
        "scores": Layout.NONE,
    }


@pytest.mark.parametrize("format_id", _FORMATS)
def test_each_format_takes_and_gives_images_channels_last(
    format_id: str, artifacts: ec.ConversionResult, camera: nn.Module
) -> None:
    artifact = artifacts[format_id]
    declared = load_handler(format_id).read_signature(artifact.path)
    found = {spec.name: spec for spec in (*declared.inputs, *declared.outputs)}
    assert [str(size) for size in found["image"].shape] == ["N", "H", "12", "3"]
    assert (found["image"].layout, found["mask"].layout) == (Layout.NHWC, Layout.NHWC)
    assert found["scores"].layout == Layout.NONE
    image = np.random.default_rng(0).random((3, 5, 12, 3), np.float32) * 255
    got = artifact.run({"image": image, "gain": np.full(1, 2, "float32")})
    wanted = camera(torch.from_numpy(image).permute(0, 3, 1, 2), torch.full((1,), 2.0))
    mask = wanted["mask"].detach().permute(0, 2, 3, 1)
    torch.testing.assert_close(torch.from_numpy(got["mask"]), mask)
    torch.testing.assert_close(torch.from_numpy(got["scores"]), wanted["scores"].detach())


@pytest.mark.parametrize("format_id", _FORMATS)
def test_it_is_verified_against_the_model_in_its_own_layout(
    format_id: str, artifacts: ec.ConversionResult, model: ec.Model
) -> None:
    assert ec.validate(artifacts[format_id], reference=model).passed
    other = ec.capture(_Camera(), (torch.rand(2, 3, 8, 12), torch.ones(1)), name="camera")
    assert not ec.validate(artifacts[format_id], reference=other).passed


def test_no_transpose_is_left(artifacts: ec.ConversionResult) -> None:
    operators = TfliteHandler().read_facts(artifacts["tflite"].path).operators
    assert "TRANSPOSE" not in operators
    assert artifacts.report is not None
    report = json.loads((artifacts.report / "report.json").read_text())
    (execution,) = (a["execution"] for a in report["artifacts"] if a["format"] == "tflite")
    assert execution["delegated_share"] == 1.0
    assert (execution["inner_transposes"], execution["border_transposes"]) == (0, 0)


def test_a_module_that_has_its_images_channels_last_is_left_alone(tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.conv(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return found

    model = ec.capture(Last(), torch.rand(1, 8, 8, 3))
    assert model.signature is not None
    assert model.signature.inputs[0].layout == Layout.NHWC
    assert model.in_layout(Layout.NHWC) is model
    first = model.in_layout(Layout.NCHW).signature
    assert first is not None
    assert first.inputs[0].shape == (1, 3, 8, 8)
    assert first.outputs[0].shape == (1, 4, 6, 6)


def test_a_model_without_an_image_is_refused(tmp_path: Path) -> None:
    model = ec.capture(nn.Linear(4, 2), torch.rand(1, 4))
    with pytest.raises(InvalidInputError, match="no image") as refused:
        ec.convert(model, to="onnx", out=tmp_path, layout="nhwc")
    assert refused.value.details == ("'input' [1, 4]",)
    with pytest.raises(UsageError, match="no layout"):
        ec.convert(model, to="onnx", out=tmp_path, layout="hwc")


@pytest.mark.parametrize(
    ("module", "shape", "inputs", "outputs"),
    [
        (nn.Conv3d(2, 3, 1), (1, 2, 4, 5, 6), Layout.NCHW, Layout.NCHW),
        (nn.Conv1d(2, 3, 1), (1, 2, 4), Layout.NONE, Layout.NONE),
        (
            nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Flatten()),
            (1, 3, 8, 8),
            Layout.NCHW,
            Layout.NONE,
        ),
        (
            nn.Sequential(nn.PixelUnshuffle(2), nn.ReLU6(True)),
            (1, 3, 8, 8),
            Layout.NCHW,
            Layout.NCHW,
        ),
        (nn.Softmax(1), (1, 3, 8, 8), Layout.NONE, Layout.NONE),
    ],
)
def test_what_an_image_is(
    module: nn.Module, shape: tuple[int, ...], inputs: Layout, outputs: Layout
) -> None:
    signature = ec.capture(module, torch.rand(shape)).signature
    assert signature is not None
    assert signature.inputs[0].layout == inputs
    assert signature.outputs[0].layout == outputs
