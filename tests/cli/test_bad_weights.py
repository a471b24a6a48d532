"""Weights and samples that cannot be used, as a user meets them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import pytest

from tests.cli.conftest import CommandLine, Refusals

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm")]

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.bn = nn.BatchNorm1d(3)
    def forward(self, features):
        return self.bn(self.fc(features))

class Pair(nn.Module):
    def forward(self, left, right): return left + right

def build(): return Net(), (torch.rand(2, 4),)
def pair(): return Pair(), (torch.rand(2, 4), torch.rand(2, 4))
"""


def _state() -> dict[str, object]:
    net = torch.nn.Sequential()
    net.add_module("fc", torch.nn.Linear(4, 3))
    net.add_module("bn", torch.nn.BatchNorm1d(3))
    return dict(net.state_dict())


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:build"


def _delivered(edgeconv: CommandLine, *words: str | Path) -> bool:
    return edgeconv("convert", *words, "--to", "torch-export", "-q").status == 0


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("w.pt", lambda state: state),
        ("w.pth", lambda state: {"state_dict": state, "epoch": 3}),
        ("w.ckpt", lambda state: {"model_state_dict": state, "optimizer": {}}),
        ("w.bin", lambda state: {"model": {f"module.{k}": v for k, v in state.items()}}),
        ("w.safetensors", lambda state: state),
        ("named-otherwise.pt", lambda state: state),
        ("old.pt", lambda state: {k: v for k, v in state.items() if "num_batches" not in k}),
        (
            "half.pt",
            lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_are_found_wherever_they_usually_are(
    edgeconv: CommandLine, model: str, tmp_path: Path, name: str, wrap: object
) -> None:
    path = tmp_path / name
    content = wrap(_state())  # type: ignore[operator]
    if "safetensors" in name or name == "named-otherwise.pt":
        safetensors.save_file(content, path)
    else:
        torch.save(content, path)
    assert _delivered(edgeconv, model, "--weights", path, "-o", tmp_path / "out")


class Stranger:
    """Something that is pickled by the name of its class."""


def _save(path: Path, content: object) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (
            lambda s: {k: v for k, v in s.items() if k != "fc.bias"},
            ["1 key missing", "missing: fc.bias"],
        ),
        (lambda s: {**s, "extra": torch.zeros(1)}, ["1 key unexpected", "unexpected: extra"]),
        (lambda s: {**s, "fc.bias": torch.zeros(5)}, ["[5] in the file, [3] in the model"]),
        (lambda _: {"e.weight": torch.zeros(2)}, ["missing: fc.weight", "another architecture"]),
        (lambda s: {f"net.{k}": v for k, v in s.items()}, ["in the file begin with 'net.'"]),
        (lambda _: {"epoch": 3}, ["hold no tensors", "epoch"]),
        (lambda _: [1, 2], ["no state dict", "holds a list"]),
        (lambda _: b"", ["are empty"]),
        (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(64), ["a PNG image"]),
        (lambda _: b"plain words", ["plain text"]),
        (lambda _: b"PK\x03\x04 cut", ["its end is missing"]),
        (lambda _: b"\x80\x02\x8a\nl\xfc\x9cF", ["cannot be read"]),
        (
            lambda _: (60).to_bytes(8, "little") + b'{"fc.bias": {"dtype"',
            ["no intact safetensors file"],
        ),
    ],
)
def test_weights_that_do_not_fit(
    refused: Refusals, model: str, tmp_path: Path, change: object, texts: list[str]
) -> None:
    path = tmp_path / "w.pt"
    _save(path, change(_state()))  # type: ignore[operator]
    refused.convert(
        model, "--weights", path, code="invalid-input", status=2, texts=["w.pt", *texts]
    )


def test_weights_that_are_not_there(refused: Refusals, model: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").touch()
    words = (model, "--weights", tmp_path / "weigths.pt")
    texts = ["does not exist", "did you mean"]
    refused.convert(*words, code="invalid-input", status=2, texts=texts)
    refused.convert(
        model, "--weights", tmp_path, code="invalid-input", status=2, texts=["a folder"]
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PyTorch's, of tracing itself
def test_weights_that_are_a_model_or_an_archive(
    refused: Refusals, model: str, tmp_path: Path
) -> None:
    script = torch.jit.trace(torch.nn.Linear(4, 3), torch.rand(2, 4))
    script.save(tmp_path / "script.pt")
    np.savez(tmp_path / "w.npz", a=np.zeros(1))
    for name, text in (
        ("script.pt", "are a TorchScript model"),
        ("w.npz", "zip archive of another"),
    ):
        words = (model, "--weights", tmp_path / name)
        refused.convert(*words, code="invalid-input", status=2, texts=[text])


def test_weights_that_would_run_code(refused: Refusals, model: str, tmp_path: Path) -> None:
    torch.save({"fc.weight": Stranger()}, tmp_path / "w.pt")
    texts = ["would run code", "Stranger", "--trust"]
    refused.convert(model, "--weights", tmp_path / "w.pt", code="unsafe", status=9, texts=texts)


def test_trusted_weights_of_a_class_that_is_not_there(
    refused: Refusals, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `torch.save(model)` writes names the script that defined the class."""
    script = ModuleType("training_script")
    gone = type("Gone", (torch.nn.Module,), {"__module__": script.__name__})
    monkeypatch.setattr(script, "Gone", gone, raising=False)
    monkeypatch.setitem(sys.modules, script.__name__, script)
    torch.save(gone(), tmp_path / "w.pt")
    texts = ["need code that is not there", "save the state_dict there"]
    words = (model, "--weights", tmp_path / "w.pt", "--trust")
    refused.convert(*words, code="invalid-input", status=2, texts=texts)


SAMPLES = np.random.default_rng(0).random((5, 4), dtype=np.float32)


def _with_nan() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    found = SAMPLES.copy()
    found[2, 1] = np.nan
    return found


@pytest.mark.parametrize(
    ("arrays", "texts"),
    [
        ({"feature": SAMPLES}, ["no array for input 'features'", "did you mean 'feature'?"]),
        ({"features": SAMPLES[:, :3]}, ["do not fit", "float32[2, 3]"]),
        ({"features": SAMPLES[:, 0]}, ["do not fit", "float32[5]"]),
        ({"features": (SAMPLES * 9).astype("uint8")}, ["another dtype", ".astype('float32')"]),
        ({"features": _with_nan()}, ["sample 1 holds NaN for input 'features'"]),
        ({"features": SAMPLES[:0]}, ["there are no samples"]),
        ({"features": np.array([{}])}, ["holds Python objects"]),
        ({}, ["hold no arrays"]),
    ],
)
def test_samples_that_do_not_fit(
    refused: Refusals, model: str, tmp_path: Path, arrays: dict[str, object], texts: list[str]
) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    refused.convert(model, "--samples", path, code="invalid-input", status=2, texts=texts)


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", ["it is empty"]),
        (b"plain words", ["it is plain text"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), ["a PNG image"]),
        (b"PK\x03\x04 cut", ["its end is missing"]),
        (b"\x93NUMPY\x01\x00", ["a single array, which has no input names"]),
    ],
)
def test_samples_of_another_kind(
    refused: Refusals, model: str, tmp_path: Path, content: bytes, texts: list[str]
) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    refused.convert(model, "--samples", path, code="invalid-input", status=2, texts=texts)


def test_samples_that_differ_in_number(refused: Refusals, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    path = tmp_path / "samples.npz"
    np.savez(path, left=np.zeros((4, 2, 4), "float32"), right=np.zeros((3, 2, 4), "float32"))
    texts = ["different numbers of samples", "4 for 'left', 3 for 'right'"]
    words = (f"{tmp_path}/net.py:pair", "--samples", path)
    refused.convert(*words, code="invalid-input", status=2, texts=texts)


def test_folders_of_samples(refused: Refusals, model: str, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    words = (model, "--samples", folder)
    refused.convert(*words, code="invalid-input", status=2, texts=["hold no arrays"])
    (folder / "cat.jpg").touch()
    refused.convert(*words, code="invalid-input", status=2, texts=["a folder of images"])
    (folder / "features.npy").write_text("words")
    refused.convert(*words, code="invalid-input", status=2, texts=["features.npy", "plain text"])
    missing = (model, "--samples", tmp_path / "none.npz")
    refused.convert(*missing, code="invalid-input", status=2, texts=["do not exist"])


@pytest.mark.parametrize("is_folder", [False, True])
def test_labels_and_other_arrays_beside_the_inputs_are_left_alone(
    edgeconv: CommandLine, model: str, tmp_path: Path, *, is_folder: bool
) -> None:
    arrays = {"features": SAMPLES.astype("float64"), "label": np.arange(5), "ids": np.zeros((7, 2))}
    samples = tmp_path / ("samples" if is_folder else "samples.npz")
    if is_folder:
        samples.mkdir()
        for name, array in arrays.items():
            np.save(samples / f"{name}.npy", array)
    else:
        np.savez(samples, **arrays)  # type: ignore[arg-type]
    out = tmp_path / "out"
    said = edgeconv(
        "convert", model, "--to", "torch-export", "--samples", samples, "-o", out, "--json", "-q"
    )
    assert said.status == 0
    (artifact,) = cast("list[dict[str, dict[str, int]]]", said.data["artifacts"])
    # The example, two of noise, and two samples of two rows each.
    assert artifact["verdict"]["samples"] == 5


def test_more_samples_than_are_used_are_told(
    edgeconv: CommandLine, model: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "many.npz", features=np.zeros((100, 4), "float32"))
    words = ("--samples", tmp_path / "many.npz", "-o", tmp_path / "out")
    said = edgeconv("convert", model, "--to", "torch-export", *words)
    assert "first 16" not in said.err  # it is no warning
    text = "verified with the first 16 samples; there are more"
    assert text in (tmp_path / "out" / "report.json").read_text()
    assert text in (tmp_path / "out" / "report.html").read_text()
