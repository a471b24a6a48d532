"""Hostile and damaged models on the command line: the exit status, and that nothing ran and nothing was written."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.cli.conftest import CommandLine
from tests.formats.archives import Payload, flip_byte, rewrite

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]

FACTORY = "from torch import nn\ndef build(): return nn.Linear(3, 2)\n"


def _pickled(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    net = torch.nn.Linear(3, 2)
    torch.export.save(torch.export.export(net, (torch.randn(2, 3),)), path)
    return path


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "model.pt"
    torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(2, 3)).save(str(path))
    return path


Make = Callable[[Path, Path, Path], None]


def _hostile_program(program: Path, target: Path, marker: Path) -> None:
    rewrite(program, target, {"data/sample_inputs/model.pt": _pickled(((Payload(marker),), {}))})


def _hostile_script(script: Path, target: Path, marker: Path) -> None:
    rewrite(script, target, {"data.pkl": pickle.dumps(Payload(marker), protocol=2)})


def _flipped(source: Path, target: Path, marker: Path) -> None:
    flip_byte(source, target, b"byteorder")


def _truncated(source: Path, target: Path, marker: Path) -> None:
    target.write_bytes(source.read_bytes()[:-100])


def _empty(source: Path, target: Path, marker: Path) -> None:
    target.touch()


def _text(source: Path, target: Path, marker: Path) -> None:
    target.write_text("a text file with the suffix of a model\n")


def _folder(source: Path, target: Path, marker: Path) -> None:
    target.mkdir()


def _legacy_pickle(source: Path, target: Path, marker: Path) -> None:
    torch.save(Payload(marker), target, _use_new_zipfile_serialization=False)


def _plain_pickle(source: Path, target: Path, marker: Path) -> None:
    target.write_bytes(pickle.dumps(Payload(marker)))


def _checkpoint(source: Path, target: Path, marker: Path) -> None:
    torch.save({"w": Payload(marker)}, target)


def _bomb(source: Path, target: Path, marker: Path) -> None:
    import zipfile

    target.write_bytes(source.read_bytes())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/extra/bomb", bytes(32 << 20))


@pytest.mark.parametrize(
    ("name", "make", "status"),
    [
        ("model.pt2", _hostile_program, 9),
        ("model.pt2", _bomb, 9),
        ("model.pt2", _flipped, 2),
        ("model.pt2", _truncated, 2),
        ("model.pt2", _empty, 2),
        ("model.pt2", _text, 2),
        ("model.pt2", _folder, 2),
        ("model.pt2", _plain_pickle, 2),
        ("model.pt", _hostile_script, 9),
        ("model.pt", _truncated, 2),
        ("model.pt", _legacy_pickle, 2),
        ("model.pt", _checkpoint, 2),
    ],
)
def test_a_model_is_refused(  # noqa: PLR0917 - fixtures and cases
    edgeconv: CommandLine,
    program: Path,
    script: Path,
    tmp_path: Path,
    name: str,
    make: Make,
    status: int,
) -> None:
    marker, model, out = tmp_path / "ran", tmp_path / name, tmp_path / "out"
    make(program if name == "model.pt2" else script, model, marker)
    said = edgeconv(
        "convert", model, "--to", "tflite", "--input", "input:float32[2,3]", "-o", out, "-q"
    )
    assert said.status == status
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert "hint: " in said.err
    assert not marker.exists()
    assert not out.exists()


@pytest.mark.parametrize("make", [_legacy_pickle, _plain_pickle, _checkpoint])
def test_hostile_weights_are_refused(edgeconv: CommandLine, tmp_path: Path, make: Make) -> None:
    factory, weights, marker = tmp_path / "net.py", tmp_path / "w.pt", tmp_path / "ran"
    factory.write_text(FACTORY)
    make(factory, weights, marker)
    spec = "input:float32[2,3]"
    out = tmp_path / "out"
    said = edgeconv(
        "convert", f"{factory}:build", "--weights", weights, "--input", spec, "-o", out, "-q"
    )
    assert said.status == 9
    assert "posix.mkdir" in said.err
    assert "--trust" in said.err
    assert not marker.exists()
    assert not out.exists()


@pytest.mark.parametrize("command", ["inspect", "validate"])
def test_a_hostile_program_is_refused_by_every_command(
    edgeconv: CommandLine, program: Path, tmp_path: Path, command: str
) -> None:
    model, marker = tmp_path / "evil.pt2", tmp_path / "ran"
    _hostile_program(program, model, marker)
    more = ("--reference", program) if command == "validate" else ()
    said = edgeconv(command, model, *more, "-q")
    assert said.status == 9
    assert "posix.mkdir" in said.err
    assert not marker.exists()
