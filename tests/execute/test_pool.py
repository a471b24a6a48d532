from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from edgeconv.errors import FailureKind, OutputError, StepError
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.runner import Lane, Reply, Task, WorkerReplacedError
from edgeconv.settings import load_settings

LANE = Lane(name="test")
MIB = 1 << 20


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(load_settings().worker_environment) as pool:
        yield pool


def hostile(name: str, **request: object) -> Task:
    return Task(
        title=f"'{name}'",
        entry=f"edgeconv.testing.hostile:{name}",
        request=request,  # type: ignore[arg-type]
        timeout_seconds=1.0 if name.startswith(("hang", "close")) else 60.0,
        memory_limit_bytes=256 * MIB if name == "fill_memory" else None,
    )


def own(tmp_path: Path, code: str, **request: object) -> Task:
    """A task whose worker module is written here."""
    path = tmp_path / "own_worker.py"
    path.write_text(code)
    entry = {"path": str(path), "function": "work"}
    return Task(title="'own'", entry=entry, request=request)  # type: ignore[arg-type]


def pids_in(path: Path) -> list[int]:
    while not path.exists():
        time.sleep(0.02)
    return [int(pid) for pid in path.read_text().split()]


def wait_until_gone(pids: list[int]) -> bool:
    """Whether all of them end; a zombie that nobody has reaped yet is gone."""
    for _ in range(500):
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_worker_keeps_its_context_from_task_to_task(pool: WorkerPool, tmp_path: Path) -> None:
    code = "def work(request, context):\n context.setdefault('seen', []).append(request['n'])\n return context"
    assert pool.run(LANE, own(tmp_path, code, n=1)).unwrap() == {"seen": [1]}
    assert pool.run(LANE, own(tmp_path, code, n=2)).unwrap() == {"seen": [1, 2]}
    assert pool.started == 1


def test_lanes_have_processes_of_their_own(pool: WorkerPool, tmp_path: Path) -> None:
    code = "import os\ndef work(request, context):\n return {'pid': os.getpid()}"
    task = own(tmp_path, code)
    first, second = (pool.run(Lane(name=name), task).unwrap()["pid"] for name in ("a", "b"))
    assert first != second
    assert os.getpid() not in (first, second)


def test_a_worker_sees_the_variables_it_is_given_and_no_others(
    pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    code = "import os\ndef work(request, context):\n return dict(os.environ)"
    seen = set(pool.run(LANE, own(tmp_path, code)).unwrap())
    expected = set(load_settings().worker_environment)
    assert seen - {"LC_CTYPE"} == expected - {"LC_CTYPE"}  # Python sets it itself in the C locale
    assert "SECRET_TOKEN" not in seen


def test_figures_of_a_task(pool: WorkerPool, tmp_path: Path) -> None:
    code = "def work(request, context):\n return {'n': len(bytearray(request['n']).replace(b'\\0', b'1'))}"
    small = pool.run(LANE, own(tmp_path, code, n=1))
    large = pool.run(LANE, own(tmp_path, code, n=200 * MIB))
    again = pool.run(LANE, own(tmp_path, code, n=1))
    assert large.peak_memory_bytes > small.peak_memory_bytes + 150 * MIB
    assert again.peak_memory_bytes < large.peak_memory_bytes - 150 * MIB  # the peak is of one task
    assert small.seconds > 0
    assert small.log == ""


FAILURES = {
    "crash": (FailureKind.CRASHED, "SIGSEGV"),
    "exit_process": (FailureKind.CRASHED, "status 3"),
    "exit_politely": (FailureKind.INTERNAL, "SystemExit"),
    "hang": (FailureKind.TIMED_OUT, "1 second"),
    "hang_holding_the_lock": (FailureKind.TIMED_OUT, "1 second"),
    "close_streams": (FailureKind.CRASHED, "closed the connection"),
    "fill_memory": (FailureKind.OUT_OF_MEMORY, "256 MiB"),
    "run_out_of_memory": (FailureKind.OUT_OF_MEMORY, "MemoryError"),
    "raise_error": (FailureKind.INTERNAL, "the seventh tensor is cursed"),
    "miss_tool": (FailureKind.MISSING_TOOL, "no_such_tool"),
    "return_garbage": (FailureKind.INTERNAL, "list, not a mapping"),
    "return_unserializable": (FailureKind.INTERNAL, "not JSON serializable"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_bad_behaviour_is_a_typed_failure_and_the_next_task_runs(
    pool: WorkerPool, name: str, tmp_path: Path
) -> None:
    kind, reason = FAILURES[name]
    reply = pool.run(LANE, hostile(name))
    assert isinstance(reply.error, StepError)
    assert reply.error.kind is kind
    assert reason in reply.error.why
    assert f"'{name}'" in reply.error.message
    noise = hostile("print_noise", output=str(tmp_path / "noise"))
    assert pool.run(LANE, noise).unwrap() == {"output": str(tmp_path / "noise")}


def test_a_crash_shows_the_end_of_the_log(pool: WorkerPool) -> None:
    reply = pool.run(LANE, hostile("crash"))
    assert reply.error is not None
    text = "\n".join(reply.error.details)
    assert "hostile.py" in text  # where it died
    assert "about to read address 0" in reply.log


def test_a_traceback_comes_with_an_unexpected_error(pool: WorkerPool) -> None:
    error = pool.run(LANE, hostile("raise_error")).error
    assert error is not None
    assert any("in raise_error" in line for line in error.details)


def test_a_killed_worker_points_at_memory(pool: WorkerPool, tmp_path: Path) -> None:
    code = "import os\ndef work(request, context):\n os.kill(os.getpid(), 9)"
    error = pool.run(LANE, own(tmp_path, code)).error
    assert isinstance(error, StepError)
    assert error.kind is FailureKind.OUT_OF_MEMORY


def test_a_full_disk_is_no_bug(pool: WorkerPool, tmp_path: Path) -> None:
    error = pool.run(LANE, hostile("fill_disk", output=str(tmp_path / "x"))).error
    assert isinstance(error, OutputError)
    assert "No space left" in error.why


def test_what_tools_print_is_in_the_log_and_nowhere_else(
    pool: WorkerPool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reply = pool.run(LANE, hostile("print_noise", output=str(tmp_path / "noise")))
    assert reply.error is None
    assert reply.log.count('"event": "done"') == 5
    assert capfd.readouterr() == ("", "")


def test_a_log_is_of_one_task(pool: WorkerPool, tmp_path: Path) -> None:
    code = "def work(request, context):\n print(request['text'])\n return {}"
    pool.run(LANE, own(tmp_path, code, text="first"))
    assert pool.run(LANE, own(tmp_path, code, text="second")).log == "second\n"


def test_a_timeout_ends_what_the_worker_started(pool: WorkerPool, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pool.run(LANE, hostile("hang", options={"pids": str(pids)}))
    assert wait_until_gone(pids_in(pids))


def test_a_task_for_a_process_that_is_gone_does_not_run(pool: WorkerPool, tmp_path: Path) -> None:
    code = "def work(request, context):\n return {}"
    first = pool.run(LANE, own(tmp_path, code))
    assert first.generation == 1
    again = Task(title="'x'", entry=own(tmp_path, code).entry, generation=1)
    assert pool.run(LANE, again).generation == 1
    pool.run(LANE, hostile("crash"))
    with pytest.raises(WorkerReplacedError):
        pool.run(LANE, again)
    assert pool.run(LANE, own(tmp_path, code)).generation == 2


def test_warming_imports_ahead_and_survives_what_is_missing(
    pool: WorkerPool, tmp_path: Path
) -> None:
    pool.warm(LANE, ["no_such_module", "colorsys"])
    code = (
        "import sys, time\n"
        "def work(request, context):\n"
        " time.sleep(request['seconds'])\n"
        " return {'warm': 'colorsys' in sys.modules}"
    )
    pool.run(LANE, own(tmp_path, code, seconds=0.0))
    for _ in range(100):  # imports happen between tasks
        if pool.run(LANE, own(tmp_path, code, seconds=0.0)).unwrap()["warm"]:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the module was never imported")
    assert pool.started == 1


def test_closing_ends_tasks_that_run(tmp_path: Path) -> None:
    replies: list[Reply] = []
    pids = tmp_path / "pids"
    pool = WorkerPool(load_settings().worker_environment)
    task = Task(
        title="'hang'",
        entry="edgeconv.testing.hostile:hang",
        request={"options": {"pids": str(pids)}},
    )
    thread = threading.Thread(target=lambda: replies.append(pool.run(LANE, task)))
    thread.start()
    found = pids_in(pids)
    pool.close()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert isinstance(replies[0].error, StepError)
    assert wait_until_gone(found)
    assert isinstance(pool.run(LANE, task).error, StepError)  # and nothing starts any more


HOST = """
import sys
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.runner import Lane, Task
from edgeconv.settings import load_settings
entry = "edgeconv.testing.hostile:" + sys.argv[2]
pool = WorkerPool(load_settings().worker_environment)
pool.warm(Lane(name="idle"), [])
print(pool._slots[Lane(name="idle")].worker._process.pid, flush=True)
pool.run(Lane(name="test"), Task(title="x", entry=entry, request={"options": {"pids": sys.argv[1]}}))
"""


@pytest.mark.parametrize("name", ["hang", "hang_holding_the_lock"])
def test_workers_end_when_the_host_is_killed(tmp_path: Path, name: str) -> None:
    pids = tmp_path / "pids"
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(pids), name], stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        idle = int(host.stdout.readline())
        busy = pids_in(pids)[0]
        host.send_signal(signal.SIGKILL)
        assert wait_until_gone([idle, busy])
    with suppress(ProcessLookupError):  # nobody is left to end what a worker started
        os.kill(pids_in(pids)[1], signal.SIGKILL)


def test_interrupting_the_host_leaves_no_worker(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = HOST.replace("pool = WorkerPool", "with WorkerPool").replace(
        "worker_environment)\npool.warm", "worker_environment) as pool:\n pool.warm"
    )
    code = code.replace("\nprint(", "\n print(").replace("\npool.run(", "\n pool.run(")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(pids), "hang"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as host:
        assert host.stdout is not None
        idle = int(host.stdout.readline())
        busy = pids_in(pids)
        host.send_signal(signal.SIGINT)
        assert wait_until_gone([idle, *busy])


def test_a_reply_that_is_large_arrives_whole(pool: WorkerPool, tmp_path: Path) -> None:
    code = "def work(request, context):\n return {'text': request['text'] * 3}"
    text = "ü" * 300_000
    assert json.dumps(
        pool.run(LANE, own(tmp_path, code, text=text)).unwrap()["text"]
    ) == json.dumps(text * 3)


def test_temporary_files_of_workers_go_with_the_pool(tmp_path: Path) -> None:
    code = """
import os, tempfile
def work(request, context):
    handle, name = tempfile.mkstemp()
    os.close(handle)
    return {"path": name}
"""
    scratch = tmp_path / "scratch"
    with WorkerPool(load_settings().worker_environment, scratch=scratch) as pool:
        left = Path(str(pool.run(LANE, own(tmp_path, code)).unwrap()["path"]))
        assert left.exists()
        assert left.is_relative_to(scratch)
    assert list(scratch.glob("*")) == []
