"""Real failures of real models: the smallest part that fails is kept, and its script shows the failure by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from edgeconv import api
from edgeconv.cli.main import run
from edgeconv.conversion import Conversion, ConversionOptions, make_request, run_request
from edgeconv.plugin import ConverterSpec
from edgeconv.plugin.job import Json
from edgeconv.plugin.registry import Registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("diagnosis"),
]

_NETS = """
import torch
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, odd):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.classify = nn.Linear(4, 5)
        self.odd = odd

    def forward(self, image):
        x = torch.relu(self.conv(image)).mean((2, 3))
        x = self.odd(x.sigmoid() + 0.5)
        return torch.softmax(self.classify(x), -1)


@torch.library.custom_op("mine::twist", mutates_args=())
def twist(x: Tensor, by: float) -> Tensor:
    return torch.tensor(x.numpy() * by)


@twist.register_fake
def _(x, by):
    return torch.empty_like(x)


def _make(odd):
    torch.manual_seed(0)
    return Net(odd).eval(), (torch.rand(2, 3, 8, 8),)


def unsupported():
    return _make(lambda x: torch.linalg.ldl_factor(x[:, :, None] * x[:, None] + torch.eye(4)).LD[:, 0])


def custom():
    return _make(lambda x: twist(x, 2.0))


def plain():
    return _make(torch.erf)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "nets.py"
    path.write_text(_NETS)
    return path


def _targets(program: Path) -> list[str]:
    nodes = torch.export.load(program).graph.nodes
    targets = [str(node.target) for node in nodes if node.op == "call_function"]
    return [target for target in targets if target.startswith(("aten.", "mine."))]


def _reproduce(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, folder / "reproduce.py"],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_operator_without_a_lowering(nets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convert", f"{nets}:unsupported", "--to", "savedmodel,tflite", "-o", str(out), "-q"]
    assert run([*words, "--avoid", "litert-torch", "--diagnose", "0"]) == 5
    assert not (out / "rejected").exists()
    assert run([*words, "--avoid", "litert-torch"]) == 5
    goals = json.loads((out / "report.json").read_text())["goals"]
    # The same step failed for both: they share what was found.
    (place,) = {goal["reproduction"] for goal in goals}
    assert all(str(out / place) in goal["error"]["details"][-1] for goal in goals)
    folder = out / place
    assert _targets(folder / "subgraph.pt2") == ["aten.linalg_ldl_factor.default"]
    facts = json.loads((folder / "failure.json").read_text())
    assert facts["operators"] == [
        "aten.linalg_ldl_factor.default: linalg_ldl_factor nets.py:15 in forward"
    ]
    assert facts["of"] > 5
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0]
    status, said = _reproduce(folder)
    assert status == 1
    assert "aten.linalg_ldl_factor_ex.default x1" in said
    assert "1 of its" in (folder / "README.md").read_text()


def test_a_custom_operator_is_defined_again_by_the_script(nets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["convert", f"{nets}:custom", "--to", "tflite", "--avoid", "litert-torch"]
    assert run([*words, "-o", str(out), "-q"]) == 5
    folder = out / "rejected" / "custom.tflite.reproduce"
    nets.unlink()  # what the script needs lies beside it
    status, said = _reproduce(folder)
    assert status == 1
    assert "mine.twist.default x1" in said


def _steered(
    converter: str, name: str, **options: Json
) -> tuple[Registry, Mapping[str, Mapping[str, Json]]]:
    """All real converters, one of which fails at what it is told to fail at."""
    specs: list[ConverterSpec] = []
    told: dict[str, Json] = dict(options)
    for spec in Registry().converters:
        if spec.id == converter:
            told["entry"] = spec.entry
            entry = f"edgeconv.testing.hostile:{name}"
            specs.append(replace(spec, entry=entry, lane="hostile", takes_live=False))
        else:
            specs.append(spec)
    return Registry(specs), {converter: told}


def _fail(
    model: str,
    out: Path,
    steered: tuple[Registry, Mapping[str, Mapping[str, Json]]],
    avoid: Sequence[str] = (),
) -> Conversion:
    registry, options = steered
    request = make_request(
        ConversionOptions(model=model, out=out, goals=("onnx",), avoid=tuple(avoid))
    )
    request = replace(request, converter_options=options)
    return run_request(request, api.Silent(), registry=registry, diagnosis_seconds=120.0)


def test_a_converter_that_crashes(nets: Path, tmp_path: Path) -> None:
    steered = _steered("torch-onnx", "crash_on_operator", operator="aten.erf.default")
    avoid = ["edge-onnx", "torch-onnx-torchscript"]
    done = _fail(f"{nets}:plain", tmp_path / "out", steered, avoid)
    assert done.exit_status == 5
    (goal,) = done.outcome.goals
    assert goal.reproduction is not None
    assert goal.error is not None
    assert str(goal.reproduction) in str(goal.error)
    assert _targets(goal.reproduction / "subgraph.pt2") == ["aten.erf.default"]
    # The real converter does not crash: the script tells that the failure is gone.
    status, said = _reproduce(goal.reproduction)
    assert status == 0, said
    assert "the failure is gone" in said


def test_a_converter_that_computes_something_else(nets: Path, tmp_path: Path) -> None:
    steered = _steered("torch-onnx", "mistranslate_onnx", **{"from": "Sigmoid", "to": "Tanh"})
    out = tmp_path / "out"
    done = _fail(f"{nets}:plain", out, steered, ["edge-onnx", "torch-onnx-torchscript"])
    assert done.exit_status == 6
    (goal,) = done.outcome.goals
    assert goal.reproduction is not None
    assert _targets(goal.reproduction / "subgraph.pt2") == ["aten.sigmoid.default"]
    assert "is off by" in (goal.reproduction / "README.md").read_text()
    # Delivered at last: what was found out about the failure goes.
    again = _fail(f"{nets}:plain", out, (Registry(), {}))
    assert again.exit_status == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "plain.onnx",
        "report.html",
        "report.json",
    ]


def test_a_folder_of_somebody_else_stays(nets: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "rejected" / "unsupported.tflite.reproduce" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    words = ["convert", f"{nets}:unsupported", "--to", "tflite", "--avoid", "litert-torch"]
    assert run([*words, "-o", str(tmp_path / "out"), "-q"]) == 5
    assert [path.name for path in foreign.parent.iterdir()] == ["notes.txt"]


def test_a_module_that_this_program_holds(nets: Path, tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            products = x[:, :, None] * x[:, None] + torch.eye(4)
            found: torch.Tensor = torch.linalg.ldl_factor(products).LD.cumsum(0)
            return found

    model = api.capture(Odd(), (torch.randn(3, 4),), name="odd", dynamic={"x": {0: "N"}})
    options = {"avoid": ["litert-torch"], "allow_partial": True}
    done = api.convert(model, to="tflite", out=tmp_path / "out", **options)  # type: ignore[arg-type]
    (goal,) = done.outcome.goals
    assert goal.reproduction is not None
    assert _targets(goal.reproduction / "subgraph.pt2") == ["aten.linalg_ldl_factor.default"]
