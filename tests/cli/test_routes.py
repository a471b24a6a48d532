"""Users steer to each route with --via and --avoid, and every route delivers every kind of model."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.cli.conftest import CommandLine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("cli-routes"),
]

_SAMPLES = Path("sample_models").absolute()

_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, image):
        return self.fc(torch.relu(self.conv(image)).flatten(2).mean(2))

class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 3)
        self.down = nn.Linear(4, 3)

    def forward(self, features):
        if features.sum() > 0:
            return self.up(features)
        return self.down(features)

def net():
    torch.manual_seed(0)
    return Net(), (torch.randn(2, 3, 8, 8),)

def branch():
    torch.manual_seed(0)
    return Branch(), (torch.randn(2, 4),)
"""


@dataclass(frozen=True)
class _Model:
    """What is typed for a model, and its inputs as artifacts name them."""

    words: tuple[str, ...]
    inputs: tuple[str, ...]


_MODELS = {
    "net": _Model(("NET:net", "--input", "image:float32[N=2,3,8,8]"), ("image:float32[N,3,8,8]",)),
    "program": _Model(
        (f"{_SAMPLES}/digits_vit/model.pt2", "--input", "image:float32[N=1,1,32,32]"),
        ("image:float32[N,1,32,32]",),
    ),
    "script": _Model(
        (
            f"{_SAMPLES}/keyword_dscnn/model.torchscript.pt",
            *("--input", "spectrogram:float32[N=1,1,49,10]"),
        ),
        ("spectrogram:float32[N,1,49,10]",),
    ),
    "tokens": _Model(
        (
            f"{_SAMPLES}/sentence_encoder/model.py:create",
            *("--weights", f"{_SAMPLES}/sentence_encoder/weights.safetensors"),
            *("--input", "input_ids:int64[N=1,S=1..128]"),
            *("--input", "attention_mask:int64[N=1,S]"),
        ),
        ("input_ids:int64[N,S]", "attention_mask:int64[N,S]"),
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all models, so that each is captured once, and their code."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "net.py").write_text(_NET)
    return folder


@pytest.fixture
def net(shared: Path, edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert edgeconv.cache != shared
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(shared / "cache"))
    return shared / "net.py"


def _words(name: str, net: Path) -> list[str]:
    return [word.replace("NET", str(net)) for word in _MODELS[name].words]


def _routes(data: dict[str, object]) -> dict[str, list[str]]:
    """The route that delivered each format."""
    goals = cast("list[dict[str, list[dict[str, list[str]]]]]", data["goals"])
    return {str(goal["format"]): goal["attempts"][-1]["route"] for goal in goals}


def _inputs(path: Path) -> list[str]:
    from edgeconv.formats import detect, load_handler

    signature = load_handler(detect(path).id).read_signature(path)
    return [str(spec) for spec in signature.inputs]


_SECOND = (
    ["--via", "litert-torch", "--via", "torch-onnx-torchscript"],
    {"tflite": ["torch-export", "litert-torch"], "onnx": ["torch-onnx-torchscript"]},
)
_THIRD = (
    ["--via", "tflite-converter", "--via", "torch-onnx"],
    {
        "tflite": ["torch-export", "edge-lowering", "edge-savedmodel", "tflite-converter"],
        "onnx": ["torch-export", "torch-onnx"],
    },
)


@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.parametrize("steered", [_SECOND, _THIRD], ids=["second", "third"])
def test_every_route_delivers_every_kind_of_model(
    edgeconv: CommandLine,
    net: Path,
    tmp_path: Path,
    name: str,
    steered: tuple[list[str], dict[str, list[str]]],
) -> None:
    steering, routes = steered
    out = tmp_path / "out"
    words = ["--to", "tflite,onnx", "--name", "m", "-o", str(out), *steering, "--json", "-q"]
    said = edgeconv("convert", *_words(name, net), *words)
    assert said.status == 0, said.err
    assert _routes(said.data) == routes
    for file in ("m.tflite", "m.onnx"):
        assert _inputs(out / file) == list(_MODELS[name].inputs)


@pytest.mark.parametrize(
    ("steering", "routes"),
    [
        (["--avoid", "edge-tflite,litert-torch"], {"tflite": "tflite-converter"}),
        (["--avoid", "edge-graph"], {"tflite": "litert-torch"}),
        (["--avoid", "torch-export"], {"onnx": "torch-onnx-torchscript"}),
        (["--avoid", "edge-onnx"], {"onnx": "torch-onnx"}),
        (["--via", "savedmodel"], {"tflite": "tflite-converter"}),
        (["--via", "edge-graph"], {"tflite": "edge-tflite"}),
    ],
    ids=lambda value: "-".join(value[:2]).strip("-") if isinstance(value, list) else None,
)
def test_a_plan_tells_the_route_that_is_taken(
    edgeconv: CommandLine, net: Path, steering: list[str], routes: dict[str, str]
) -> None:
    (format_id,) = routes
    said = edgeconv("plan", f"{net}:net", "--to", format_id, *steering, "--explain", "--json")
    assert said.status == 0
    (goal,) = cast("list[dict[str, list[dict[str, list[dict[str, str]]]]]]", said.data["goals"])
    assert goal["routes"][0]["steps"][-1]["converter"] == routes[format_id]
    text = edgeconv("plan", f"{net}:net", "--to", format_id, *steering, "--explain").out
    assert f"{routes[format_id]} (" in text.splitlines()[2]
    if steering[0] == "--avoid":
        assert "out:" in text
        assert "is to be avoided" in text


_COMMANDS = {
    ("litert_torch", "litert-torch"): "pip install 'edgeconv[litert-torch]'",
    ("tensorflow", "tflite-converter"): "pip install 'edgeconv[tensorflow,tflite]'",
}


@pytest.mark.parametrize(("package", "via"), _COMMANDS)
def test_a_package_that_is_not_installed_is_told_with_its_command(
    edgeconv: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, via: str
) -> None:
    # As Python itself marks what cannot be imported.
    monkeypatch.setitem(sys.modules, package, None)
    net, out = tmp_path / "net.py", tmp_path / "out"
    net.write_text(_NET)
    words = [f"{net}:net", "--to", "tflite", "--via", via]
    for said in (edgeconv("plan", *words), edgeconv("convert", *words, "-o", out)):
        assert said.status == 4
        assert f"'{package}'" in said.err
        assert f"hint: {_COMMANDS[package, via]}" in said.err
    assert not list(out.glob("*.tflite"))
    explained = edgeconv("plan", f"{net}:net", "--to", "tflite", "--explain")
    assert explained.status == 0  # another route is left
    assert f"{via}: '{package}' not installed: {_COMMANDS[package, via]}" in explained.out


def test_control_flow_is_scripted_and_other_formats_say_which_line(
    edgeconv: CommandLine, net: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = edgeconv("convert", f"{net}:branch", "--to", "torchscript", "-o", out)
    assert said.status == 0
    said = edgeconv("convert", f"{net}:branch", "--to", "onnx,torchscript", "-o", out)
    assert said.status == 5
    assert "control flow depends on the values of tensors" in said.err
    assert f"{net}:21: if features.sum() > 0:" in said.err
    found = sorted(path.name for path in out.iterdir())
    assert found == ["branch.torchscript.pt", "report.html", "report.json"]
    report = json.loads((out / "report.json").read_text())
    (onnx,) = (goal for goal in report["goals"] if goal["format"] == "onnx")
    assert [a["result"] for a in onnx["attempts"]] == ["failed"]


def test_a_page_does_not_replace_a_file_of_somebody_else(
    edgeconv: CommandLine, net: Path, tmp_path: Path
) -> None:
    out, foreign = tmp_path / "out", tmp_path / "thesis.html"
    assert edgeconv("convert", f"{net}:net", "--to", "torch-export", "-o", out, "-q").status == 0
    foreign.write_text("<p>mine</p>")
    said = edgeconv("report", "html", out, "-o", foreign)
    assert said.status == 2
    assert "edgeconv did not make it" in said.err
    assert foreign.read_text() == "<p>mine</p>"
    assert edgeconv("report", "html", out).status == 0  # over its own page
