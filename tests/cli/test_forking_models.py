"""Factories that fork: what they leave in other processes does not answer in the name of the one that edgeconv asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("cli-forking"),
    pytest.mark.usefixtures("warm"),
]

_NET = """
import os, sys, multiprocessing
import torch
from torch import nn
from torch.utils.data import DataLoader

class Net(nn.Module):
    def forward(self, x):
        return torch.relu(x * 2 - 1)

def returns():
    os.fork()
    return Net(), (torch.rand(2, 4),)

def exits():
    child = os.fork()
    if child == 0:
        sys.exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 3, status
    return Net(), (torch.rand(2, 4),)

def raises():
    child = os.fork()
    if child == 0:
        raise RuntimeError("in the child alone")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 1, status
    return Net(), (torch.rand(2, 4),)

def outlived():
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "60"])
    return Net(), (torch.rand(2, 4),)

def double(number):
    return 2 * number

def pool():
    with multiprocessing.get_context("fork").Pool(2) as workers:
        assert workers.map(double, range(3)) == [0, 2, 4]
    return Net(), (torch.rand(2, 4),)

def loader():
    batches = DataLoader(torch.rand(8, 4), batch_size=2, num_workers=2)
    return Net(), (next(iter(batches)),)

class Forking(nn.Module):
    def forward(self, x):
        if os.fork() == 0:
            os._exit(0)
        return torch.relu(x * 2 - 1)

def forwards():
    return Forking(), (torch.rand(2, 4),)
"""


@pytest.mark.parametrize(
    "factory", ["returns", "exits", "raises", "outlived", "pool", "loader", "forwards"]
)
def test_a_factory_that_forks_is_converted_once(
    edgeconv: CommandLine, tmp_path: Path, factory: str
) -> None:
    path, out = tmp_path / "net.py", tmp_path / "out"
    path.write_text(_NET)
    said = edgeconv("convert", f"{path}:{factory}", "--to", "torchscript,tflite", "-o", out, "-q")
    assert said.status == 0, said.err
    report = json.loads((out / "report.json").read_text())
    assert [attempt["result"] for goal in report["goals"] for attempt in goal["attempts"]] == [
        "delivered",
        "delivered",
    ]
