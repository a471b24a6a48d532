"""The capture step, called as a worker calls it: what it takes, what it refuses, and that nothing hostile runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import InvalidInputError, UnsafeInputError, UsageError
from edgeconv.plugin import Job, Json
from edgeconv.plugin.live import find_live
from edgeconv.signature import Dim
from edgeconv.source import parse_inputs, parse_model
from edgeconv.validation.reference import read_reference
from edgeconv_converters.torch_export.build import build_source
from edgeconv_converters.torch_export.flatten import (
    bind_inputs,
    flatten_outputs,
    make_flat_module,
)
from edgeconv_converters.torch_export.refusals import explain_violation
from edgeconv_converters.torch_export.weights import load_weights, read_weights
from edgeconv_converters.torch_export.worker import capture

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

_FACTORY = """
import random as random_numbers
import torch
from torch import Tensor, nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
    def forward(self, features):
        return {"scores": self.layer(features), "sum": features.sum(-1)}

class Branch(nn.Module):
    def forward(self, features):
        if features.sum() > 0:
            return features + 1
        return features - 1

class Random(nn.Module):
    def forward(self, features):
        return features + torch.rand(4)

class RandomConstant(nn.Module):
    # Draws where torch.export does not see it: the program holds the number.
    def forward(self, features):
        return features + random_numbers.random()

class RandomBranch(nn.Module):
    # Cannot be exported either.
    def forward(self, features):
        return features + torch.rand(4) if features.sum() > 0 else features - torch.rand(4)

class RandomOfRandom(nn.Module):
    # Cannot be exported in a way that is told before the program runs.
    def forward(self, features):
        noise = torch.rand(4)
        return torch.cat([features[noise > 0.5], noise])

def random_constant(): return RandomConstant()
def random_branch(): return RandomBranch()
def random_of_random(): return RandomOfRandom()

def create():
    print("a factory may print")
    return Net()
def branch(): return Branch()
def random(): return Random()
def text(): return "no module"
def fail(): raise RuntimeError("no such luck")
def broken():
    net = Net()
    with torch.no_grad():
        net.layer.weight[0, 0] = float("nan")
    return net
"""


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(_FACTORY)
    return path


def _capture(
    model: str, output: Path, *inputs: str, weights: Path | None = None
) -> tuple[dict[str, Json], dict[str, object]]:
    context: dict[str, object] = {}
    source = parse_model(model, weights=weights)
    options: dict[str, Json] = {
        "source": source.to_json(),
        "inputs": [cast("Json", item.to_json()) for item in parse_inputs(inputs)],
    }
    job = Job(name="net", inputs={}, output=output, options=options)
    return capture(job.to_json(), context), context


def test_a_factory_becomes_a_program_a_reference_and_a_live_model(
    factory: Path, tmp_path: Path
) -> None:
    output = tmp_path / "capture"
    result, context = _capture(f"{factory}:create", output, "features:float32[N=1,4]")
    details = cast("dict[str, Json]", result["details"])
    assert details["parameters"] == 15
    reference = read_reference(output / "reference")
    assert [spec.name for spec in reference.signature.outputs] == ["scores", "sum"]
    assert {case.sizes["N"] for case in reference.cases} > {1}
    live = find_live(context, output / "model.pt2")
    assert live is not None
    dependencies = cast("list[dict[str, str]]", details["dependencies"])
    assert str(factory) in [item["path"] for item in dependencies]


def test_the_reference_is_what_the_model_computes(factory: Path, tmp_path: Path) -> None:
    output = tmp_path / "capture"
    _, context = _capture(f"{factory}:create", output, "features:float32[N=1,4]")
    live = find_live(context, output / "model.pt2")
    assert live is not None
    for case in read_reference(output / "reference").cases:
        scores = live.module(torch.from_numpy(case.inputs()["features"]))[0].detach().numpy()
        assert abs(scores - case.outputs()["scores"]).max() == 0


def test_control_flow_is_an_export_error_with_its_line(factory: Path, tmp_path: Path) -> None:
    result, _ = _capture(f"{factory}:branch", tmp_path / "capture", "features:float32[4]")
    details = cast("dict[str, Json]", result["details"])
    error = cast("dict[str, Json]", details["export_error"])
    assert error["code"] == "capture"
    assert "net.py" in str(error["details"])


def test_a_constant_size_is_told_with_the_lines_of_its_own_dim() -> None:
    error = ValueError(
        "Constraints violated (L['x'].size()[1])!\n  - You marked L['x'].size()[1] as dynamic but your code specialized it "
        "to be a constant (8). If you're using mark_dynamic, either remove it"
    )
    asked: list[str] = []

    def lines(names: Sequence[str]) -> list[str]:
        asked.extend(names)
        return ["net.py:7: x.reshape(8)"]

    dims = (Dim(name="N", example=2, min=1), Dim(name="W", example=8, min=1))
    refusal = explain_violation(error, dims, lines, {("x", 0): "N", ("x", 1): "W"})
    assert asked == ["W"]
    assert str(refusal).startswith("dim 'W' cannot be dynamic")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("text", "returned an object of type str"),
        ("fail", "failed"),
        ("nothing", "no function 'nothing'"),
        ("broken", "NaN"),
        ("random", "another result at every run"),
        ("random_constant", "another result at every run"),
        ("random_branch", "another result at every run"),
        ("random_of_random", "another result at every run"),
    ],
)
def test_a_bad_factory_is_refused(
    factory: Path, tmp_path: Path, function: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        _capture(f"{factory}:{function}", tmp_path / "capture", "features:float32[4]")


def test_a_wrong_shape_tells_what_forward_said(factory: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="forward fails"):
        _capture(f"{factory}:create", tmp_path / "capture", "features:float32[1,5]")


def test_a_wrong_name_is_refused(factory: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no input 'image'"):
        _capture(f"{factory}:create", tmp_path / "capture", "image:float32[1,4]")


def test_an_onnx_file_does_not_enter_here(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(16))
    with pytest.raises(UsageError, match="tflite"):
        _capture(str(path), tmp_path / "capture")


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._marker),)


@pytest.mark.parametrize("is_archive", [True, False])
def test_a_pickle_that_runs_code_is_refused_before_it_runs(
    tmp_path: Path, is_archive: bool
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "weights.pt"
    torch.save({"weight": _Hostile(marker)}, path, _use_new_zipfile_serialization=is_archive)
    with pytest.raises(UnsafeInputError) as caught:
        read_weights(path, trust=False)
    assert caught.value.exit_status == 9
    assert "mkdir" in str(caught.value)
    assert not marker.exists()


def test_trust_lets_a_pickle_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "weights.pt"
    torch.save({"hostile": _Hostile(marker), "weight": torch.zeros(1)}, path)
    assert list(read_weights(path, trust=True)) == ["weight"]
    assert marker.exists()


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_nested_and_prefixed_weights_are_found(tmp_path: Path, key: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save({key: {"module.weight": torch.ones(2)}, "epoch": 3}, path)
    assert list(read_weights(path, trust=False)) == ["weight"]


def test_all_misfits_are_reported_together() -> None:
    module = nn.Linear(4, 3)
    wrong = {"weight": torch.zeros(3, 5), "gain": torch.zeros(1)}
    with pytest.raises(InvalidInputError) as caught:
        load_weights(module, wrong, Path("w.pt"))
    text = str(caught.value)
    assert "missing: bias" in text
    assert "unexpected: gain" in text
    assert "[3, 5] in the file, [3, 4] in the model" in text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not weights at all"])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((InvalidInputError, UnsafeInputError)):
        read_weights(path, trust=False)


def test_members_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("../outside", b"x")
    with pytest.raises(UnsafeInputError, match="lead out"):
        read_weights(path, trust=False)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 * 2**20))
    with pytest.raises(UnsafeInputError, match="unpack"):
        read_weights(path, trust=False)


class _Token(nn.Module):
    """A class token: the batch size is asked for and used."""

    def forward(self, image: Tensor) -> Tensor:
        token = torch.ones(1, 1, 4).expand(image.shape[0], -1, -1)
        joined: Tensor = torch.cat([token, image], 1).reshape(image.shape[0] * 3, 4)
        return joined


def test_a_loaded_program_can_be_traced_with_its_batch_dynamic(tmp_path: Path) -> None:
    path = tmp_path / "token.pt2"
    batch = torch.export.Dim("batch")
    example = (torch.randn(2, 2, 4),)
    program = torch.export.export(_Token(), example, dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    built = build_source(parse_model(str(path)))
    traced = torch.jit.trace(built.module, (torch.randn(1, 2, 4),), check_trace=False)
    image = torch.randn(3, 2, 4)
    assert torch.equal(traced(image), _Token()(image))


class _Counting(nn.Module):
    def forward(self, x: Tensor) -> dict[str, object]:
        return {"double": 2 * x, "count": x.shape[0]}


def test_a_size_among_the_outputs_is_left_out_by_the_tracer_too() -> None:
    x = torch.randn(2, 3)
    bound = bind_inputs(_Counting(), (x,))
    plan = flatten_outputs(_Counting()(x), bound.names)
    flat = make_flat_module(_Counting(), bound, plan)
    traced = torch.jit.trace(flat, (x,))
    (double,) = traced(torch.ones(5, 3))
    assert torch.equal(double, 2 * torch.ones(5, 3))
