"""`edgeconv validate` asks nothing that the artifact tells: names, dtypes, sizes, dims and layouts are read from it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.artifact import Artifact
from edgeconv.cli.main import run
from tests.cli.conftest import CommandLine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("cli-validate"),
    pytest.mark.usefixtures("warm"),
]

_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image, steps):
        return self.conv(image).relu() * steps.sum(1)[:, None, None, None]

def build():
    torch.manual_seed(SEED)
    return Net()

class Other(nn.Module):
    def forward(self, x):
        return x * 2

def other():
    return Other(), (torch.rand(2, 3),)
"""
_INPUTS = ("--input", "image:float32[N=2,3,8,8]", "--input", "steps:int64[N=2,5]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py, and its model in all formats under `nchw` and as TFLite under `nhwc`."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "net.py").write_text(_NET.replace("SEED", "0"))
    (folder / "trained.py").write_text(_NET.replace("SEED", "1"))
    words = ["convert", f"{folder}/net.py:build", *_INPUTS, "--name", "net", "-q"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECONV_CACHE_DIR", str(folder / "cache"))
        assert run([*words, "-o", str(folder / "nchw")]) == 0
        turned = ["--layout", "nhwc", "--to", "tflite", "-o", str(folder / "nhwc")]
        assert run([*words, *turned]) == 0
    return folder


@pytest.mark.parametrize(
    "artifact",
    [
        "nchw/net.onnx",
        "nchw/net.torchscript.pt",
        "nchw/net.savedmodel",
        "nchw/net.tflite",
        "nhwc/net.tflite",
    ],
)
def test_the_inputs_are_read_from_the_artifact(
    edgeconv: CommandLine, made: Path, artifact: str
) -> None:
    words = ("validate", made / artifact, "--json", "-q", "--reference")
    said = edgeconv(*words, f"{made}/net.py:build")
    assert said.status == 0, said.err
    sizes = cast("list[dict[str, int]]", said.data["sizes"])
    assert {"N": 2} in sizes
    assert (
        len(sizes) > 1
    )  # the dim is known to be one, and the artifact runs at other sizes as well
    assert edgeconv(*words, f"{made}/trained.py:build").status == 6


def test_what_the_user_says_counts_before_what_the_artifact_tells(
    edgeconv: CommandLine, made: Path
) -> None:
    words = ("validate", made / "nchw/net.onnx", "--reference", f"{made}/net.py:build", "--json")
    said = edgeconv(*words, "--input", "image:float32[N=3,3,8,8]")
    assert said.status == 0, said.err
    assert {"N": 3} in cast("list[dict[str, int]]", said.data["sizes"])


def test_an_artifact_of_another_model_is_compared_with_the_models_own_example(
    edgeconv: CommandLine, made: Path
) -> None:
    words = ("validate", made / "nchw/net.onnx", "--reference", f"{made}/net.py:other", "--json")
    said = edgeconv(*words)
    assert said.status == 6
    assert said.data["problems"]


def test_a_model_whose_capture_is_kept_is_not_captured_again_for_its_answers(
    edgeconv: CommandLine, made: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    image = random.normal(size=(20, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=image, steps=random.integers(0, 9, size=(20, 5)))
    words = ("validate", made / "nchw/net.onnx", "--reference", f"{made}/net.py:build")
    data = ("--data", tmp_path / "data.npz", "--metric", "mse")
    assert edgeconv(*words).status == 0
    said = edgeconv(*words, *data)
    assert said.status == 0, said.err
    assert [line for line in said.err.splitlines() if "capture" in line] == [
        "ok      capture (torch-export)  cached"
    ]
    assert "on 20 samples" in said.out
    answers = [edgeconv(*words, *data, *more, "--json").data for more in ((), ("--no-cache",))]
    assert answers[0]["reference_metrics"] == answers[1]["reference_metrics"]
    assert answers[0]["metrics"] == pytest.approx(cast("dict[str, float]", answers[1]["metrics"]))


_OWN = """
def of(outputs, wanted):
    return -float(abs(next(iter(outputs.values())).mean((1, 2, 3)) - wanted).max())
"""


def test_data_is_in_the_modules_own_layout_wherever_the_model_answers(
    edgeconv: CommandLine, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of three rows, columns and channels fit in either layout."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_closeness.py").write_text(_OWN)
    inputs = ("--input", "image:float32[N=2,3,3,3]", "--input", "steps:int64[N=2,5]")
    words = (f"{made}/net.py:build", *inputs, "--name", "net", "-q", "--to", "tflite")
    assert edgeconv("convert", *words, "--layout", "nhwc", "-o", tmp_path).status == 0
    image = np.random.default_rng(0).normal(size=(20, 3, 3, 3)).astype(np.float32)
    steps = np.ones((20, 5), np.int64)
    feed: dict[str, NDArray[np.generic]] = {
        "image": image.transpose(0, 2, 3, 1).copy(),
        "steps": steps,
    }
    (outputs,) = Artifact.read(tmp_path / "net.tflite").run(feed).values()
    np.savez("data.npz", image=image, steps=steps, wanted=outputs.mean((1, 2, 3)))
    check = ("validate", "net.tflite", "--reference", f"{made}/net.py:build", "--json")
    assert edgeconv(*check).status == 0  # and keeps the capture
    said = edgeconv(*check, "--data", "data.npz", "--metric", "own_closeness:of")
    assert said.status == 0, said.err
    for figures in ("metrics", "reference_metrics"):
        found = cast("dict[str, float]", said.data[figures])
        assert found["own_closeness:of"] > -1e-4
