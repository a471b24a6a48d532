"""Workers give back what they do not need: pages of libraries, and what a large step left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.runner import Lane, Task
from edgeconv.execute.worker_main import _clean_library_pages
from edgeconv.settings import load_settings

LANE = Lane(name="test")

SMAPS = """\
1000-3000 r-xp 00000000 fe:00 123    /lib/libc.so.6
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
3000-4000 r--p 00002000 fe:00 123    /lib/libc.so.6
Anonymous:             4 kB
4000-5000 rw-p 00003000 fe:00 123    /lib/libc.so.6
Anonymous:             0 kB
5000-9000 r--p 00000000 fe:00 456    /models/net.safetensors
Anonymous:             0 kB
a000-b000 r-xp 00000000 00:00 0      [vdso]
Anonymous:             0 kB
b000-e000 r--p 00000000 fe:00 789    /opt/with space/libtorch_cpu.so
Anonymous:             0 kB
e000-f000 rw-p 00000000 00:00 0
Anonymous:             0 kB
"""

HOLD = """
class Node:
    pass

def work(request, context):
    node = Node()
    node.itself = node
    node.content = bytearray(request["size"])
    for page in range(0, len(node.content), 4096):
        node.content[page] = 1
    return {}

def look(request, context):
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
"""

FREE = """
def work(request, context):
    blocks = [bytearray(100_000) for _ in range(2000)]
    for block in blocks:
        block[:] = bytes([1]) * len(block)
    context["last"] = blocks.pop()  # what lies below it goes back to the system only when that is asked for
    return {}
"""

IMPORT = """
import time

def work(request, context):
    import torch
    time.sleep(1.5)
    total = float(torch.nn.functional.conv2d(torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3)).sum())
    lines = open("/proc/self/status").read().splitlines()
    held = next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))
    return {"held_mb": held / 1000, "total": total}
"""


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(load_settings().worker_environment) as pool:
        yield pool


def _task(tmp_path: Path, code: str, function: str, **request: int) -> Task:
    path = tmp_path / "own_worker.py"
    path.write_text(code)
    entry = {"path": str(path), "function": function}
    return Task(title="'own'", entry=entry, request=dict(request))


def test_only_pages_of_libraries_that_nobody_wrote_are_given_back() -> None:
    assert list(_clean_library_pages(SMAPS)) == [(0x1000, 0x2000), (0xB000, 0x3000)]


def test_a_cycle_of_a_large_step_does_not_outlive_it(pool: WorkerPool, tmp_path: Path) -> None:
    before = pool.run(LANE, _task(tmp_path, HOLD, "look")).unwrap()
    large = pool.run(LANE, _task(tmp_path, HOLD, "work", size=500_000_000))
    after = pool.run(LANE, _task(tmp_path, HOLD, "look")).unwrap()
    assert large.peak_memory_bytes > 500_000_000
    assert int(str(after["RssAnon"])) < int(str(before["RssAnon"])) + 20_000


def test_what_a_step_freed_goes_back_to_the_system(pool: WorkerPool, tmp_path: Path) -> None:
    before = pool.run(LANE, _task(tmp_path, HOLD, "look")).unwrap()
    path = tmp_path / "free_worker.py"
    path.write_text(FREE)
    entry = {"path": str(path), "function": "work"}
    large = pool.run(LANE, Task(title="'own'", entry=entry, request={}))
    after = pool.run(LANE, _task(tmp_path, HOLD, "look")).unwrap()
    assert large.peak_memory_bytes > 200_000_000
    assert int(str(after["RssAnon"])) < int(str(before["RssAnon"])) + 20_000


@pytest.mark.integration
def test_a_framework_runs_without_the_pages_it_was_loaded_with(
    pool: WorkerPool, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    found = pool.run(LANE, _task(tmp_path, IMPORT, "work")).unwrap()
    assert found["total"] == 3 * 36 * 18
    assert (
        float(str(found["held_mb"])) < 120
    )  # it maps over 200 MB of its libraries as it is loaded
