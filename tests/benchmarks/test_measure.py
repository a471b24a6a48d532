"""Limits on time and memory end a command with all it started."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from benchmarks.measure import Limits, observe

_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
_HOLD = "import time; held = b'x' * {size}; time.sleep(60)"


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_a_command_prints_and_ends_with() -> None:
    found = observe(_python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert (found.output, found.errors, found.status, found.exceeded) == ("out\n", "err\n", 3, "")


def test_memory_of_children_counts() -> None:
    code = "import time; held = b'x' * 200_000_000; time.sleep(0.6)"
    found = observe(_python(_CHILD.format(code=code)))
    assert 200_000_000 < found.peak_memory_bytes < 400_000_000


@pytest.mark.parametrize("limits", [Limits(seconds=1.0), Limits(memory_bytes=100_000_000)])
def test_a_limit_ends_the_children_too(limits: Limits) -> None:
    mark = time.time_ns()
    code = f"mark = {mark}; " + _HOLD.format(size=200_000_000)
    found = observe(_python(_CHILD.format(code=code)), limits=limits)
    assert found.exceeded == ("time" if limits.seconds == 1.0 else "memory")
    assert found.wall_seconds < 30
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(mark) in str(p.info["cmdline"])]
