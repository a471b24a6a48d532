"""Output folders and caches that cannot be written, are full, or hold somebody else's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Refusals
from tests.disks import mounted

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm")]

NET = """
import torch
def build(): return torch.nn.Linear(4, 3), (torch.rand(2, 4),)
def large(): return torch.nn.Linear(256, 256), (torch.rand(2, 256),)
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:build"


def _refuse(refused: Refusals, model: str, out: Path, *texts: str) -> None:
    words = ("convert", model, "--to", "torch-export", "-o", out)
    refused(*words, code="output", status=2, texts=texts)


def test_a_folder_that_cannot_be_written(refused: Refusals, model: str, tmp_path: Path) -> None:
    _refuse(refused, model, Path("/proc/out"), "'/proc/out' cannot be written")
    with mounted(tmp_path / "disk", "ro") as disk:
        _refuse(refused, model, disk, "Read-only file system", "you may write to")
        _refuse(refused, model, disk / "out", "Read-only file system")


def test_a_file_in_place_of_a_folder(refused: Refusals, model: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    _refuse(refused, model, file, "is a file, not a folder")
    _refuse(refused, model, file / "out", "Not a directory")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["net.pt2", "report.json", "report.html"])
def test_a_file_of_somebody_else_is_not_replaced(refused: Refusals, model: str, name: str) -> None:
    refused.out.mkdir()
    (refused.out / name).write_text("mine")
    _refuse(refused, model, refused.out, "edgeconv did not make", f"'{name}'", "move")
    assert {p.name: p.read_text() for p in refused.out.iterdir()} == {name: "mine"}


def test_a_folder_that_is_full(refused: Refusals, model: str, tmp_path: Path) -> None:
    words = ("--to", "torch-export", "--json")
    with mounted(tmp_path / "disk", "size=64k") as disk:
        large = model.replace("build", "large")
        said = refused.edgeconv("convert", large, *words, "-o", disk / "out")
        assert said.status == said.data["exit_status"] == 2
        refused.check_text(said, ["No space left on device", "make room there"])
        assert not (disk / "out" / "large.pt2").exists()
        assert not list(disk.rglob("*.partial"))


def test_a_folder_that_has_no_room_for_the_report(
    refused: Refusals, model: str, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=20k") as disk:
        said = refused.edgeconv("convert", model, "--to", "torch-export", "-o", disk / "out")
        assert said.status == 2
        refused.check_text(said, ["/out/report.", "cannot be written", "No space left on device"])
        assert (disk / "out" / "net.pt2").exists()
        assert not (disk / "out" / "report.html").exists()


def test_a_cache_that_is_full(
    refused: Refusals, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = model.replace("build", "large")
    with mounted(tmp_path / "disk", "size=150k") as disk:
        monkeypatch.setenv("EDGECONV_CACHE_DIR", str(disk / "cache"))
        said = refused.edgeconv("convert", large, "--to", "torch-export", "-o", refused.out)
        assert said.status == 2
        refused.check_text(said, ["No space left on device", "EDGECONV_CACHE_DIR"])
        assert not (refused.out / "large.pt2").exists()
        assert not list((disk / "cache" / "runs").glob("*"))


@pytest.mark.parametrize("where", ["file", "proc", "read-only"])
def test_a_cache_that_cannot_be_written(
    refused: Refusals, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "file").touch()
    with mounted(tmp_path / "disk", "ro") as disk:
        caches = {"file": tmp_path / "file", "proc": Path("/proc/cache"), "read-only": disk}
        monkeypatch.setenv("EDGECONV_CACHE_DIR", str(caches[where]))
        words = (model, "--to", "torch-export")
        texts = ["cannot be written", "EDGECONV_CACHE_DIR"]
        refused.convert(*words, code="output", status=2, texts=texts)


def test_a_home_that_cannot_be_written(
    refused: Refusals, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGECONV_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/nobody")
    texts = ["'/proc/nobody/.cache/edgeconv", "EDGECONV_CACHE_DIR"]
    refused.convert(model, "--to", "torch-export", code="output", status=2, texts=texts)


def test_paths_with_spaces_and_other_letters(
    edgeconv: CommandLine, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.rename("net.py", "my nët.py")  # noqa: PTH104 - the file is in this folder
    out = Path("-a folder") / "ünder: it"
    words = ("--to", "torch-export", "-o", f"./{out}", "-q")
    assert edgeconv("convert", "my nët.py:build", *words).status == 0
    assert (tmp_path / out / "my_n_t.pt2").exists()
