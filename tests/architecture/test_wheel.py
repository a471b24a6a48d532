"""What a user gets: the wheel holds every module and data file of the packages, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT

MAX_BYTES = 2 << 20
DATA = {
    "edgeconv/report/quantization.schema.json",
    "edgeconv/report/schema.json",
    "edgeconv/report/templates/quantization.css",
    "edgeconv/report/templates/quantization.html.j2",
    "edgeconv/report/templates/report.css",
    "edgeconv/report/templates/report.html.j2",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.iterdir()
    return path


def _content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _expected() -> set[str]:
    return {
        path.relative_to(package.parent).as_posix()
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    assert _content(wheel) == _expected()


def test_the_wheel_holds_what_is_read_as_a_file(wheel: Path) -> None:
    typed = {f"{package.name}/py.typed" for package in PACKAGES}
    assert _content(wheel) >= {*DATA, *typed, "edgeconv/execute/worker_main.py"}


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MAX_BYTES


def test_the_wheel_brings_the_command_and_the_converters(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        text = archive.read(name).decode()
    assert "edgeconv = edgeconv.__main__:main" in text
    assert "[edgeconv.converters]" in text
