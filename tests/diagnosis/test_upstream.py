"""The script of a bug report calls the failing tool itself, and shows the failure where edgeconv cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import edgeconv as ec
from edgeconv.cli.main import run
from edgeconv.diagnosis.reproduction import PROGRAM_NAME, Reproduction
from edgeconv.diagnosis.upstream import SAVEDMODEL_NAME, BareCall, needs_savedmodel, tool_of
from edgeconv.errors import StepError
from edgeconv.plugin.registry import Registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("diagnosis"),
]

_CALLS = [
    ("torch-onnx", "onnx"),
    ("torch-onnx-torchscript", "onnx"),
    ("torchscript", "torchscript"),
    ("litert-torch", "tflite"),
    ("tflite-converter", "tflite"),
]
_NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, odd):
        super().__init__()
        self.odd = odd

    def forward(self, x):
        return torch.relu(self.odd(x.sigmoid() + 0.5) * 2)


def airy():
    return Net(torch.special.airy_ai), (torch.rand(2, 8),)


def factored():
    return Net(lambda x: torch.linalg.ldl_factor(x).LD), (torch.rand(4, 4),)


def product():
    class Product(nn.Module):
        def forward(self, left, right):
            return torch.relu(left @ right)
    return Product(), (torch.rand(3, 4) - 0.5, torch.rand(4, 5) - 0.5)


def double():
    return Net(lambda x: torch.atan2(x.double(), x.double() + 1).float()), (torch.rand(2, 8),)
"""


class _Two(nn.Module):
    """Several inputs and outputs, one of them not read, in an order that names do not have."""

    def forward(self, z: Tensor, unread: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        return torch.relu(z + a.sum(1)), (z.sum(1) > 0) & (a.sum() > -100)


def _run_alone(folder: Path, script: str = "reproduce.py") -> tuple[int, str]:
    """Run a script where `import edgeconv` fails."""
    poison = folder.parent / "poison"
    poison.mkdir(exist_ok=True)
    (poison / "edgeconv.py").write_text("raise ImportError('edgeconv is not to be imported')")
    done = subprocess.run(
        [sys.executable, folder / script],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(poison)},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "nets.py"
    path.write_text(_NETS)
    return path


@pytest.mark.parametrize(
    ("model", "via", "told"),
    [
        ("airy", "torch-onnx", "special_airy_ai"),
        ("airy", "torch-onnx-torchscript", "special_airy_ai"),
        ("airy", "litert-torch", "special_airy_ai"),
        ("double", "tflite-converter", "tf.AddV2"),
        # TensorFlow 2.21 loses an activation after a product of two inputs.
        ("product", "tflite-converter", "is off by"),
    ],
)
def test_a_tool_that_fails_is_called_without_edgeconv(
    nets: Path, tmp_path: Path, model: str, via: str, told: str
) -> None:
    out, goal = tmp_path / "out", dict(_CALLS)[via]
    words = ["convert", f"{nets}:{model}", "--to", goal, "--via", via, "-o", str(out), "-q"]
    assert run(words) in (5, 6)
    (folder,) = (out / "rejected").glob("*.reproduce")
    facts = json.loads((folder / "failure.json").read_text())
    assert (facts["tool"], facts["is_bare_call"]) == (tool_of([via]), True)
    assert f"It calls {tool_of([via])} itself" in (folder / "README.md").read_text()
    status, said = _run_alone(folder)
    assert status == 1
    assert told in said
    assert "not to be imported" not in said


def test_what_our_own_converter_lacks_stays_a_call_of_edgeconv(nets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convert", f"{nets}:factored", "--to", "tflite", "--via", "tflite-converter"]
    assert run([*words, "-o", str(out), "-q"]) == 5
    (folder,) = (out / "rejected").glob("*.reproduce")
    facts = json.loads((folder / "failure.json").read_text())
    assert (facts["tool"], facts["is_bare_call"]) == ("", False)
    assert "edgeconv.convert(" in (folder / "reproduce.py").read_text()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ec.Artifact]:
    """A folder with a part that every tool converts, as program and as SavedModel."""
    folder = tmp_path_factory.mktemp("sound")
    torch.manual_seed(0)
    examples = (torch.randn(3, 4), torch.randn(2), torch.randn(4, 5))
    torch.export.save(torch.export.export(_Two(), examples), folder / PROGRAM_NAME)
    model = ec.load(folder / PROGRAM_NAME)
    made = ec.convert(model, to="savedmodel", out=folder / "made", use_cache=False)["savedmodel"]
    made.path.rename(folder / SAVEDMODEL_NAME)
    return folder, made


def _call(converter: str, goal: str, made: ec.Artifact, tolerances: list[float]) -> BareCall:
    return BareCall(
        reproduction=Reproduction(
            model="two",
            format=goal,
            route=(converter,),
            operators=(),
            of=0,
            origins=(),
            versions={},
        ),
        error=StepError("it computes something else"),
        tolerances=tolerances,
        taken=made.signature if needs_savedmodel([converter]) else None,
    )


@pytest.mark.parametrize(("converter", "goal"), _CALLS, ids=lambda word: word)
def test_every_bare_call_tells_right_numbers_from_wrong_ones(
    sound: tuple[Path, ec.Artifact], converter: str, goal: str
) -> None:
    folder, made = sound
    script = folder / "reproduce.py"
    script.write_text("untouched")
    assert not _call(converter, goal, made, []).put(folder, 0.0)  # there is no time to see it fail
    assert script.read_text() == "untouched"
    # Nothing can be less than 0 off: with this tolerance the first output is wrong.
    assert _call(converter, goal, made, [-1.0, 0.0]).put(folder, 300)
    script.write_text(script.read_text().replace("TOLERANCES = [-1.0, 0.0]", "TOLERANCES = []"))
    status, said = _run_alone(folder)
    assert status == 0, said
    assert "the failure is gone" in said


def test_every_converter_that_calls_a_tool_has_its_call() -> None:
    assert {converter for converter, _ in _CALLS} <= {spec.id for spec in Registry().converters}
    assert all(tool_of([converter]) for converter, _ in _CALLS)
    assert not tool_of(["edge-tflite"])
