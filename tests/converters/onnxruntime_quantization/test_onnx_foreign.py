"""Files that PyTorch's own exporter wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import torch
from torch import Tensor, nn

from edgeconv.formats import load_handler
from edgeconv.plugin.quantizer import FLOAT32
from edgeconv_converters.onnxruntime_quantization.worker import open_model
from tests.converters.onnxruntime_quantization.texts import (
    draw_inputs,
    fused_operators,
    quantize,
    snr_db,
)

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class _Block(nn.Module):
    """What image networks of many kinds have: batch norm, ReLU6, hard swish, a gate, a mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.depthwise = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.gate = nn.Conv2d(8, 8, 1)
        self.classify = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = nn.functional.hardswish(self.stem(image))
        y = self.depthwise(x)
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        logits: Tensor = self.classify((x + y).mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    module = _Block().eval()
    for norm in (module.stem[1], module.depthwise[1]):
        norm.get_buffer("running_var").uniform_(0.5, 2.0)
        norm.get_buffer("running_mean").normal_(0.0, 0.5)
    folder = tmp_path_factory.mktemp("exported")
    image = torch.randn(2, 3, 16, 16)
    paths = {name: folder / f"{name}.onnx" for name in ("program", "script")}
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(
        module,
        (image,),
        paths["program"],
        dynamo=True,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: batch}},
        external_data=False,
        verbose=False,
    )
    torch.onnx.export(
        module,
        (image,),
        str(paths["script"]),
        dynamo=False,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=12,
    )
    return paths


@pytest.mark.parametrize("exporter", ["program", "script"])
def test_a_file_of_pytorchs_exporter(
    exporter: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    model = open_model(exported[exporter])
    path = tmp_path / "q.onnx"
    made = quantize(model, path)
    codes = [operator.code for operator in model.operators]
    assert "BatchNormalization" not in codes
    assert codes.count("GlobalAveragePool") == 2
    floats = {
        operator.code for operator in model.operators if made.precisions[operator.name] == FLOAT32
    }
    assert floats <= {"HardSwish", "HardSigmoid", "Mul"}
    fused = fused_operators(path)
    assert fused.count("QLinearConv") == 3
    assert "QGemm" in fused
    assert [spec.name for spec in load_handler("onnx").read_signature(path).outputs] == ["logits"]
    for batch in (1, 5):
        inputs = draw_inputs(model, batch=batch, seed=3)
        wanted = model.observe(inputs)["logits"]
        with load_handler("onnx").open(path) as session:
            got = session.run(inputs).outputs["logits"]
        assert got.shape == (batch, 5)
        assert snr_db(wanted, got) > 20


def test_the_lines_of_the_program_are_known(exported: dict[str, Path]) -> None:
    model = open_model(exported["program"])
    sources = {operator.code: operator.source for operator in model.operators}
    assert "test_foreign.py" in sources["Gemm"] or "linear" in sources["Gemm"]
    assert np.mean([bool(operator.source) for operator in model.operators]) > 0.5
