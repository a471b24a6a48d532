"""Real conversions that are cut short after any of their steps: nothing half-written, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from edgeconv.formats import detect
from tests.execute.test_pool import wait_until_gone

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("cli-signals")]

NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, image):
        return torch.relu(self.conv(image))
def build(): return Net(), (torch.rand(1, 3, 8, 8),)
"""


@contextmanager
def _conversion(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "net.py").write_text(NET)
    words = ("convert", "net.py:build", "--to", "tflite,torchscript,onnx", "-o", "out")
    with subprocess.Popen(
        [sys.executable, "-m", "edgeconv", *words],
        env={**os.environ, "EDGECONV_CACHE_DIR": str(tmp_path / "cache")},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def _workers(process: subprocess.Popen[str]) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def _check_delivered(out: Path) -> None:
    """What is there is whole: it has the format that its name says."""
    formats = {".tflite": "tflite", ".torchscript.pt": "torchscript", ".onnx": "onnx"}
    for path in out.iterdir() if out.exists() else ():
        suffix = path.name.removeprefix("net")
        assert suffix in formats, path.name
        assert detect(path).id == formats[suffix]


@pytest.mark.parametrize(
    ("number", "status", "steps"),
    [
        (signal.SIGINT, 130, 0),
        (signal.SIGTERM, 143, 1),
        (signal.SIGHUP, 129, 2),
        (signal.SIGINT, 130, 3),
        (signal.SIGTERM, 143, 5),
    ],
)
def test_a_signal_after_some_steps(
    tmp_path: Path, number: signal.Signals, status: int, steps: int
) -> None:
    with _conversion(tmp_path) as process:
        assert process.stderr
        told = [process.stderr.readline() for _ in range(steps)]
        assert all(line.startswith("ok ") for line in told)
        # One folder is for what workers call temporary files, the other for what the run writes: it has begun.
        while len(list((tmp_path / "cache" / "runs").glob("run-*.lock"))) < 2:
            time.sleep(0.01)
        workers = _workers(process)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == status
    assert wait_until_gone(workers)
    assert rest.rstrip().endswith(
        "interrupted: what was delivered before is whole, nothing else was left"
    )
    assert "Traceback" not in rest
    assert list((tmp_path / "cache" / "runs").glob("*")) == []
    _check_delivered(tmp_path / "out")


def test_after_a_kill_no_worker_is_left_and_the_next_run_clears_up(tmp_path: Path) -> None:
    with _conversion(tmp_path) as process:
        assert process.stderr
        assert process.stderr.readline().startswith("ok ")
        workers = _workers(process)
        assert workers
        process.kill()
        process.wait()
    assert wait_until_gone(workers)
    assert list((tmp_path / "cache" / "runs").glob("run-*"))
    with _conversion(tmp_path) as process:
        assert process.stderr
        assert process.stderr.read().splitlines()[-1].startswith("report: ")
        assert process.wait(timeout=60) == 0
    assert list((tmp_path / "cache" / "runs").glob("*")) == []
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == [
        "net.onnx",
        "net.tflite",
        "net.torchscript.pt",
        "report.html",
        "report.json",
    ]


def test_runs_into_one_folder_at_once_all_deliver(tmp_path: Path) -> None:
    with _conversion(tmp_path) as first, _conversion(tmp_path) as second:
        for process in (first, second):
            assert process.stderr
            assert process.stderr.read().splitlines()[-1].startswith("report: ")
            assert process.wait(timeout=120) == 0
    assert not list((tmp_path / "out").glob(".edgeconv-*"))
    assert len(list((tmp_path / "out").iterdir())) == 5
