"""Each kind of error there is, brought about through the command line by what a user could do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from edgeconv.cli import main as entry
from edgeconv.errors import error_classes
from tests.cli.conftest import CommandLine, Said

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm", "evil")]

NET = """
import ctypes, torch
class Factor(torch.nn.Module):
    def forward(self, x): return torch.linalg.ldl_factor(x).LD
class Fixed(torch.nn.Module):
    def forward(self, x): return x.reshape(2, 12)
def build(): return torch.nn.Linear(4, 3), (torch.rand(2, 4),)
def factor(): return Factor(), (torch.rand(2, 3, 3),)
def fixed(): return Fixed(), (torch.rand(2, 3, 4),)
def dies(): ctypes.string_at(0)
"""
# Those that deliver something, or take their time to fail.
SLOW = ("hang", "hang_holding_the_lock", "fill_memory", "close_streams", "fill_disk", "print_noise")
OURS = "litert-torch,tflite-converter,edge-tflite"


@dataclass(frozen=True)
class Desk:
    edgeconv: CommandLine
    folder: Path

    def convert(self, function: str, *words: str, to: str = "tflite") -> Said:
        model = f"{self.folder}/net.py:{function}"
        out = self.folder / "out"
        return self.edgeconv("convert", model, "--to", to, "-o", out, "--json", *words)


@pytest.fixture
def desk(edgeconv: CommandLine, tmp_path: Path) -> Desk:
    (tmp_path / "net.py").write_text(NET)
    return Desk(edgeconv, tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/never",)


def _unsafe(desk: Desk) -> Said:
    torch.save({"weight": Harmful()}, desk.folder / "w.pt")
    return desk.convert("build", "--weights", str(desk.folder / "w.pt"))


def _no_route(desk: Desk) -> Said:
    path = desk.folder / "m.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(16))
    return desk.edgeconv("convert", path, "--to", "onnx", "-o", desk.folder / "out", "--json")


def _bug(desk: Desk) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry, "COMMANDS", {"stumble": "tests.cli.broken:stumble"})
        return desk.edgeconv("stumble", "--json")


HOW: dict[str, Callable[[Desk], Said]] = {
    "usage": lambda desk: desk.convert("build", to="coreml"),
    "invalid-input": lambda desk: desk.convert("absent"),
    "output": lambda desk: desk.edgeconv(
        "convert", f"{desk.folder}/net.py:build", "-o", desk.folder / "net.py", "--json"
    ),
    "no-route": _no_route,
    "environment": lambda desk: desk.convert("build", "--via", "evil-miss_tool"),
    "conversion": lambda desk: desk.convert(
        "build", "--avoid", ",".join([OURS, *(f"evil-{name}" for name in SLOW)]), "--timeout", "60"
    ),
    "capture": lambda desk: desk.convert("fixed", "--input", "x:float32[N=2,3,4]"),
    "unsupported-operators": lambda desk: desk.convert(
        "factor", "--via", "edge-tflite", "--avoid", "litert-torch"
    ),
    "step": lambda desk: desk.convert("dies"),
    "validation": lambda desk: desk.convert("build", "--via", "evil-print_noise"),
    "unsafe": _unsafe,
    "internal": _bug,
}


def _error(said: Said) -> dict[str, object]:
    """The error of a command; that of its only format where the command came to its end."""
    if "error" in said.data:
        return cast("dict[str, object]", said.data["error"])
    (goal,) = cast("list[dict[str, dict[str, object]]]", said.data["goals"])
    return goal["error"]


@pytest.mark.parametrize("code", [cls.code for cls in error_classes()])
def test_each_error_is_brought_about_and_ends_with_its_status(desk: Desk, code: str) -> None:
    said = HOW[code](desk)
    error = _error(said)
    statuses = {cls.code: cls.exit_status for cls in error_classes()}
    assert error["code"] == code, said.err
    assert said.status == error["exit_status"] == statuses[code]
    assert f"error: {error['message']}" in said.err
    assert error["why"]
    assert "Traceback" not in said.err
    assert not Path("/never").exists()
