"""Grouped convolutions in a SavedModel run whether TensorFlow has oneDNN or not: its optimizer treats them differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from tests.lowering.case import case
from tests.lowering.runtimes import assert_close, lower_case, open_written

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_RUN = """
import sys
import numpy
import tensorflow
model = tensorflow.saved_model.load(sys.argv[1])
inputs = tensorflow.constant(numpy.load(sys.argv[2]))
output, = model.signatures["serving_default"](in_0=inputs).values()
numpy.save(sys.argv[3], output.numpy())
"""


@pytest.mark.parametrize("one_dnn", ["0", "1"])
def test_grouped_and_dilated_convolutions_with_a_bias(tmp_path: Path, one_dnn: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(8, 12, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, dilation=2, groups=12),
    ).eval()
    image = torch.randn(1, 8, 16, 16)
    lowered = lower_case(case("groups", net, image))
    np.save(tmp_path / "in.npy", image.numpy())
    with open_written("savedmodel", lowered, tmp_path):
        subprocess.run(
            [
                sys.executable,
                "-c",
                _RUN,
                tmp_path / "case",
                tmp_path / "in.npy",
                tmp_path / "out.npy",
            ],
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": one_dnn, "CUDA_VISIBLE_DEVICES": ""},
            check=True,
            capture_output=True,
        )
    with torch.no_grad():
        assert_close([np.load(tmp_path / "out.npy")], [net(image).numpy()])
