"""Models that cannot be used, as a user meets them: what is told, with which status, and that nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Refusals

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm")]

FACTORIES = """
import ctypes, os, sys, threading, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, features):
        return self.fc(features)

class Text(nn.Module):
    def forward(self, features): return "hello"
class Random(nn.Module):
    def forward(self, features): return nn.functional.dropout(features, 0.5, training=True)
class Quitter(nn.Module):
    def forward(self, features): sys.exit(7)
class Misfit(nn.Module):
    def forward(self, features):
        return features @ torch.rand(7, 7)
class Empty(nn.Module):
    def forward(self, features): return features[:, :0]

def example(): return (torch.rand(2, 4),)
def good(): return Net(), example()
def raises(): raise RuntimeError("no such luck")
def nothing(): Net()
def a_class(): return Net
def text(): return "net"
def weights(): return Net().state_dict()
def three(): return Net(), example(), 3
def exits(): sys.exit(3)
def exits_with_words(): sys.exit("no licence")
def interrupts(): raise KeyboardInterrupt
def needs(path, size): return Net()
def too_many(): return Net(), (torch.rand(2, 4), torch.rand(2))
def numpy_inputs(): return Net(), (torch.rand(2, 4).numpy(),)
def meta():
    with torch.device("meta"):
        return Net(), example()
def nan():
    net = Net()
    net.fc.bias.data[1] = float("nan")
    return net, example()
def says_text(): return Text(), example()
def random(): return Random(), example()
def quits(): return Quitter(), example()
def misfits(): return Misfit(), example()
def empty(): return Empty(), example()

def dies(): ctypes.string_at(0)
def vanishes(): os._exit(0)
def never(): time.sleep(600)
def prints():
    print('{"not": "the result"}')
    print("noise", file=sys.stderr)
    os.write(1, b"raw\\n")
    threading.Thread(target=time.sleep, args=(600,)).start()
    return good()
a_number = 3
"""

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture
def factories(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(FACTORIES)
    return path


@pytest.mark.parametrize(
    ("function", "texts"),
    [
        ("raises", ["factory", "RuntimeError: no such luck", "net.py:"]),
        ("nothing", ["returned nothing", "return model"]),
        ("a_class", ["returned the class 'Net'", "Net()"]),
        ("text", ["returned an object of type str", "returns an nn.Module"]),
        ("weights", ["returned a OrderedDict", "load these weights"]),
        ("three", ["a tuple of Net, tuple, int"]),
        ("exits", ["it called sys.exit", "net.py:"]),
        ("exits_with_words", ["it called sys.exit: no licence"]),
        ("interrupts", ["KeyboardInterrupt"]),
        ("needs", ["needs arguments", "it takes path, size"]),
        ("absent", ["'net.py' has no function 'absent'", "it has: Net"]),
        ("god", ["did you mean 'good'?"]),
        ("a_number", ["'a_number' is of type int"]),
        ("too_many", ["do not fit the model's forward", "forward takes (features)"]),
        ("numpy_inputs", ["is a NumPy array", "torch.from_numpy"]),
        ("meta", ["2 weight tensors hold no values", "fc.weight"]),
        ("nan", ["1 weight tensor holds NaN", "fc.bias: 1 of 3"]),
        ("says_text", ["returns no tensor", "forward returned str"]),
        ("random", ["another result at every run", "nn.Dropout"]),
        ("quits", ["forward fails", "SystemExit: 7"]),
        (
            "misfits",
            ["mat1 and mat2 shapes cannot be multiplied", "net.py:", "features:float32[2, 4]"],
        ),
        ("empty", ["outputs are empty", "larger sizes"]),
    ],
)
def test_a_factory_that_is_no_good(
    refused: Refusals, factories: Path, function: str, texts: list[str]
) -> None:
    refused.convert(f"{factories}:{function}", code="invalid-input", status=2, texts=texts)


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("def f(:\n", ["SyntaxError: invalid syntax", "net.py:1: def f(:"]),
        (
            "import no_such_package\n",
            ["No module named 'no_such_package'", "install 'no_such_package'"],
        ),
        ("raise SystemExit('go away')\n", ["it called sys.exit: go away"]),
        ("x = 1\n", ["has no function 'f'", "it defines no function"]),
    ],
)
def test_a_python_file_that_cannot_be_imported(
    refused: Refusals, tmp_path: Path, content: str, texts: list[str]
) -> None:
    path = tmp_path / "net.py"
    path.write_text(content)
    refused.convert(f"{path}:f", code="invalid-input", status=2, texts=texts)


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("model.pt2", b"", ["is empty"]),
        ("model.onnx", b"", ["is empty"]),
        ("model.pt2", PNG, ["it is a PNG image"]),
        ("model.onnx", b"just some words\n", ["it is plain text"]),
        ("model.json", b'{"a": 1}', ["it is a JSON text"]),
        ("model.tflite", b"<!DOCTYPE html><p>404", ["it is a web page", "fetch it again"]),
        ("model.onnx", b"version https://git-lfs.github.com/spec/v1\n", ["git lfs pull"]),
        ("model.pt", b"\x80\x02}q\x00.", ["it is a pickle", "--weights"]),
        ("model.pt2", bytes(range(128, 160)), ["of an unknown kind: it begins with 80 81 82"]),
        ("model.pt2", b"PK\x03\x04 and the rest is lost", ["its end is missing", "truncated"]),
        ("model.onnx", b"\x08", ["of an unknown kind"]),
    ],
)
def test_a_file_that_is_no_model(
    refused: Refusals, tmp_path: Path, name: str, content: bytes, texts: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refused.convert(path, code="invalid-input", status=2, texts=[name, *texts])


def test_a_model_that_is_not_there(refused: Refusals, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").touch()
    check = {"code": "invalid-input", "status": 2}
    refused.convert(tmp_path / "mode.pt2", **check, texts=["does not exist", "did you mean"])  # type: ignore[arg-type]
    refused.convert(tmp_path / "no" / "x.pt2", **check, texts=["there is no folder"])  # type: ignore[arg-type]
    refused.convert(tmp_path / "n.py:f", **check, texts=["Python file", "does not exist"])  # type: ignore[arg-type]


def test_a_folder_in_place_of_a_file(refused: Refusals, tmp_path: Path) -> None:
    texts = ["is a folder, not a model", "saved_model.pb"]
    refused.convert(tmp_path, code="invalid-input", status=2, texts=texts)
    texts = ["is a folder, not a Python file"]
    refused.convert(f"{tmp_path}:f", code="usage", status=2, texts=texts)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("NET", ["does not say which function"]),
        ("NET:", ["does not name a function"]),
        (":f", ["neither a Python file nor a module"]),
        ("a.b.c", ["a factory is written a.b.c:FUNCTION"]),
        ("", ["the model is an empty text"]),
    ],
)
def test_a_model_that_is_written_wrong(
    refused: Refusals, factories: Path, text: str, texts: list[str]
) -> None:
    words = text.replace("NET", str(factories))
    refused.convert(words, code="usage", status=2, texts=texts)


def test_a_model_of_another_framework_is_named(refused: Refusals, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(16))
    for words in (("convert", path, "-o", refused.out), ("plan", path)):
        said = refused.edgeconv(*words, "--to", "onnx")
        assert said.status == 3
        refused.check_text(said, ["no route from 'tflite' to 'onnx'"])


def test_a_pipe_is_not_waited_for(refused: Refusals, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    texts = ["is no regular file"]
    refused.convert(tmp_path / "pipe", code="invalid-input", status=2, texts=texts)


@pytest.mark.parametrize(
    ("function", "words", "texts"),
    [
        ("dies", [], ["crashed", "SIGSEGV", "net.py:", "in dies"]),
        ("vanishes", [], ["crashed", "ended with status 0"]),
        ("never", ["--timeout", "1"], ["longer than 1 second", "--timeout"]),
    ],
)
def test_a_factory_that_ends_its_process(
    refused: Refusals, factories: Path, function: str, words: list[str], texts: list[str]
) -> None:
    out = refused.out
    model = f"{factories}:{function}"
    said = refused.edgeconv("convert", model, "--to", "tflite", "-o", out, *words, "--json")
    assert said.status == said.data["exit_status"] == 5
    refused.check_text(said, ["the capture of the model", *texts])
    assert {path.name for path in out.iterdir()} == {"report.json", "report.html"}


def test_what_a_factory_prints_does_not_reach_the_result(factories: Path, tmp_path: Path) -> None:
    words = ["convert", f"{factories}:prints", "--to", "torch-export", "-o", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", *words, "--json", "-q"],
        env={**os.environ, "EDGECONV_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["schema"] == "edgeconv.report/1"
    assert done.stderr == ""


def test_a_traceback_is_shown_when_asked_for(
    edgeconv: CommandLine, factories: Path, tmp_path: Path
) -> None:
    words = ("convert", f"{factories}:raises", "-o", tmp_path / "o")
    assert "Traceback" not in edgeconv(*words).err
    said = edgeconv(*words, "--verbose")
    assert 'raise RuntimeError("no such luck")' in said.err
    assert "Traceback" in said.err


def test_a_factory_is_found_where_this_process_finds_it(
    edgeconv: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "only_here"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(FACTORIES)
    words = ("convert", "only_here.nets:good", "--to", "torch-export", "-o", tmp_path / "o", "-q")
    said = edgeconv(*words)
    assert said.status == 2
    assert "No module named 'only_here'" in said.err
    monkeypatch.syspath_prepend(tmp_path / "src")
    assert edgeconv(*words).status == 0
