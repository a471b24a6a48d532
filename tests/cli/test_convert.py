"""Real models through the command line, to the end: what users type, and what they get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import pytest
from jsonschema import Draft202012Validator

from edgeconv.artifact import measure_size
from edgeconv.cli.main import run
from edgeconv.formats import detect
from edgeconv.report.document import SCHEMA_PATH
from edgeconv.version import edgeconv_version
from tests.cli.conftest import CommandLine

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, image):
        return {"logits": self.fc(torch.relu(self.conv(image)).mean((2, 3)))}

def build():
    torch.manual_seed(SEED)
    return Net(), (torch.rand(1, 3, 8, 8),)

def branches():
    class Branches(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x - 1
    return Branches(), (torch.rand(2, 3),)

def factored():
    class Factored(nn.Module):
        def forward(self, x):
            return torch.linalg.ldl_factor_ex(x).LD * 2
    return Factored(), (torch.eye(3),)

def broken():
    raise RuntimeError("no weights today")
"""

SAMPLE_MODELS = Path(__file__).parents[2] / "sample_models"

# Every format, and what it calls a linear layer.
OPERATORS = {
    "net.onnx": "Gemm",
    "net.pt2": "FULLY_CONNECTED",
    "net.savedmodel": "MatMul",
    "net.tflite": "FULLY_CONNECTED",
    "net.torchscript.pt": "aten::linear",
}

LABELS = ("cat", "dog", "Bär", "bird", "fish")
METADATA = {
    "author": "Ann Example",
    "description": "a model that classifies",
    "labels": "\n".join(LABELS),
}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("cli-convert"),
]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET.replace("SEED", "0"))
    return path


def test_a_model_is_converted_inspected_and_validated(
    edgeconv: CommandLine, net: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    goals = "onnx,torchscript,savedmodel,tflite,torch-export"
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    facts = ("--author", METADATA["author"], "--description", METADATA["description"])
    said = edgeconv(
        "convert",
        f"{net}:build",
        "--to",
        goals,
        *facts,
        "--labels",
        labels,
        "-o",
        out,
        "--json",
        "-q",
    )
    assert said.status == 0
    assert said.err == ""
    Draft202012Validator(json.loads(SCHEMA_PATH.read_text())).validate(said.data)
    assert said.data == json.loads((out / "report.json").read_text())
    assert {path.name for path in out.iterdir()} == {*OPERATORS, "report.html", "report.json"}
    for name, operator in OPERATORS.items():
        _check_inspection(edgeconv, out / name, operator)
    _check_validation(edgeconv, out / "net.tflite", net, tmp_path / "other.py")


def _check_inspection(edgeconv: CommandLine, path: Path, operator: str) -> None:
    data = edgeconv("inspect", path, "--json").data
    signature = cast("dict[str, list[dict[str, object]]]", data["signature"])
    assert signature["inputs"][0]["name"] == "image"
    assert signature["outputs"][0]["name"] == "logits"
    assert cast("dict[str, int]", data["operators"])[operator] == 1
    assert data["format"] == detect(path).id
    assert data["bytes"] == measure_size(path)
    assert data["parameters"] == 3 * 4 * 9 + 4 + 4 * 5 + 5
    metadata = cast("dict[str, str]", data["metadata"])
    assert metadata.items() >= METADATA.items()
    assert metadata["edgeconv_version"] == edgeconv_version()
    assert len(metadata["source_digest"]) == 64
    text = edgeconv("inspect", path).out
    assert "a model that classifies" in text
    assert "cat, dog, Bär" in text


def _check_validation(edgeconv: CommandLine, artifact: Path, net: Path, other: Path) -> None:
    assert edgeconv("validate", artifact, "--reference", f"{net}:build").status == 0
    other.write_text(NET.replace("SEED", "1"))
    said = edgeconv("validate", artifact, "--reference", f"{other}:build")
    assert said.status == 6
    assert "does not compute what" in said.err


@pytest.mark.usefixtures("warm")
def test_a_factory_is_inspected_with_its_graph(edgeconv: CommandLine, net: Path) -> None:
    said = edgeconv("inspect", f"{net}:build", "--graph", "--json", "-q")
    assert said.status == 0
    assert said.data["parameters"] == 3 * 4 * 9 + 4 + 4 * 5 + 5
    assert cast("dict[str, int]", said.data["operators"])["CONV_2D"] == 1
    assert "net.py" in str(said.data["graph"])


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["NET:absent"], "'net.py' has no function 'absent'"),
        (["NET:broken"], "no weights today"),
        (["NET:build", "--input", "image:float32[1,4,8,8]"], "channels"),
        (["NET:build", "--to", "coreml"], "unknown format 'coreml'"),
        (["NET:build", "--name", "a/b"], "cannot name files"),
    ],
)
def test_what_cannot_be_used_is_refused_without_output(
    edgeconv: CommandLine, net: Path, tmp_path: Path, arguments: list[str], text: str
) -> None:
    out = tmp_path / "out"
    words = [word.replace("NET", str(net)) for word in arguments]
    said = edgeconv("convert", *words, "-o", out)
    assert said.status == 2
    assert text in said.err
    assert "Traceback" not in said.err
    assert not out.exists()


def test_an_lstm_converts_with_any_batch_and_any_number_of_steps(
    edgeconv: CommandLine, tmp_path: Path
) -> None:
    folder, out = SAMPLE_MODELS / "gesture_lstm", tmp_path / "out"
    words: list[str | Path] = [
        "--weights",
        folder / "weights.safetensors",
        "--samples",
        folder / "test.npz",
    ]
    words += ["--input", "motion:float32[N=1,T=64,3]", "--name", "gesture"]
    goals = ["onnx", "torchscript", "savedmodel", "tflite"]
    to = ["--to", ",".join(goals)]
    said = edgeconv("convert", f"{folder / 'model.py'}:create", *words, *to, "-o", out, "--json")
    assert said.status == 0
    assert "assigned during export" not in said.err
    artifacts = cast("list[dict[str, object]]", said.data["artifacts"])
    assert [artifact["format"] for artifact in artifacts] == goals
    converters = {step["converter"] for step in cast("list[dict[str, str]]", said.data["steps"])}
    assert "litert-torch" not in converters
    for artifact in artifacts:
        signature = cast("dict[str, list[dict[str, object]]]", artifact["signature"])
        assert signature["inputs"][0]["shape"] == ["N", "T", 3]


@pytest.mark.usefixtures("warm")
def test_what_succeeded_is_delivered_when_another_format_fails(
    edgeconv: CommandLine, net: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = edgeconv("convert", f"{net}:branches", "--to", "tflite,torchscript", "-o", out)
    assert said.status == 5
    assert (out / "branches.torchscript.pt").exists()
    assert not (out / "branches.tflite").exists()
    assert "error: " in said.err
    assert "net.py:" in said.err
    shown = edgeconv("report", "show", out)
    assert shown.status == 0
    for text in ("tflite", "torchscript", "error: the model's control flow", "net.py:", "hint: "):
        assert text in shown.out
    page = out / "again.html"
    assert edgeconv("report", "html", out, "-o", page).out == f"{page}\n"
    assert "control flow" in page.read_text()


@pytest.mark.usefixtures("warm")
def test_a_model_that_cannot_be_lowered_is_inspected_as_far_as_it_goes(
    edgeconv: CommandLine, net: Path
) -> None:
    said = edgeconv("inspect", f"{net}:branches", "--json", "-q")
    assert said.status == 5
    assert cast("dict[str, str]", said.data["error"])["code"] == "capture"
    assert said.data["parameters"] == 0
    signature = cast("dict[str, list[dict[str, object]]]", said.data["signature"])
    assert signature["inputs"][0]["name"] == "x"


@pytest.mark.usefixtures("warm")
def test_what_keeps_a_model_from_being_lowered_is_marked_among_its_operators(
    edgeconv: CommandLine, net: Path
) -> None:
    said = edgeconv("inspect", f"{net}:factored", "-q")
    assert said.status == 5
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.startswith("aten.")}
    assert rows["aten.linalg_ldl_factor_ex.default"].endswith("1   not supported")
    assert rows["aten.mul.Tensor"].endswith("1")
    assert "x:float32[3,3]" in said.out
    data = edgeconv("inspect", f"{net}:factored", "-q", "--json").data
    assert data["unsupported"] == ["aten.linalg_ldl_factor_ex.default"]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py, and its model in four formats under `out`."""
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "net.py").write_text(NET.replace("SEED", "0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECONV_CACHE_DIR", str(folder / "cache"))
        assert run(["convert", f"{folder}/net.py:build", "-o", str(folder / "out"), "-q"]) == 0
    return folder


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".torchscript.pt", ".savedmodel"])
def test_an_artifact_that_is_damaged_is_told_as_such(
    edgeconv: CommandLine, artifacts: Path, tmp_path: Path, suffix: str
) -> None:
    artifact = tmp_path / f"net{suffix}"
    whole = artifacts / "out" / artifact.name
    (shutil.copytree if whole.is_dir() else shutil.copyfile)(whole, artifact)
    damaged = artifact / "saved_model.pb" if artifact.is_dir() else artifact
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    for words in (
        ("inspect", artifact),
        ("validate", artifact, "--reference", f"{artifacts}/net.py:build"),
    ):
        said = edgeconv(*words, "--json")
        assert said.status == 2
        assert cast("dict[str, str]", said.data["error"])["code"] == "invalid-input"
        assert "hint: " in said.err
        assert "Traceback" not in said.err


@pytest.mark.usefixtures("warm")
def test_an_artifact_of_another_model_is_told_each_reason_once(
    edgeconv: CommandLine, artifacts: Path
) -> None:
    artifact, other = artifacts / "out" / "net.onnx", f"{artifacts}/net.py:branches"
    said = edgeconv("validate", artifact, "--reference", other, "--json", "-q")
    assert said.status == 6
    assert said.data["passed"] is False
    assert said.data["samples"] == 0
    problems = cast("list[str]", said.data["problems"])
    assert sum("not run" in text for text in problems) == 1
    outputs = cast("list[dict[str, object]]", said.data["outputs"])
    assert [(o["passed"], o["reason"]) for o in outputs] == [(False, "was never compared")]
    told = edgeconv("validate", artifact, "--reference", other)
    assert "cosine" not in told.out  # no table of figures that nothing was measured for
    assert "nothing was compared" in told.out
    assert f"error: '{artifact}' cannot be compared with '{other}'" in told.err
    assert "made from another model" in told.err
