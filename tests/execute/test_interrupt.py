"""Signals and full disks: what is left behind when a run is cut short."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgeconv.errors import OutputError
from edgeconv.execute.interrupt import TerminatedError, exit_status, interruptible
from tests.disks import mounted
from tests.execute.desk import Desk, goal
from tests.execute.test_pool import pids_in, wait_until_gone

OLDER = 'an older artifact of ours: {"edgeconv_version": "0"}'

PROGRAM = """
import sys
from pathlib import Path
from edgeconv.execute.interrupt import exit_status, interruptible
from dataclasses import replace
from edgeconv.testing.plain import PLAIN_SPECS, PLAIN_VERIFIERS
from tests.execute.desk import Desk, with_entry
desk = Desk(Path(sys.argv[1]))
specs = with_entry({"plain-savedmodel": "hostile:hang"})
options = {"plain-savedmodel": {"pids": sys.argv[2]}}
hanging = replace(PLAIN_VERIFIERS["onnx"], entry="edgeconv.testing.hostile:hang")
try:
    with interruptible():
        if sys.argv[3] == "conversion":
            desk.convert("onnx", "savedmodel", specs=specs, converter_options=options)
        else:
            desk.convert(
                "onnx",
                verifiers={**PLAIN_VERIFIERS, "onnx": hanging},
                verify_options={"pids": sys.argv[2]},
            )
except KeyboardInterrupt as error:
    sys.exit(exit_status(error))
"""


@contextmanager
def _program(tmp_path: Path, what_hangs: str) -> Iterator[subprocess.Popen[bytes]]:
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(pids), what_hangs]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        pids_in(pids)
        yield process
        process.terminate()


@pytest.fixture
def run_until_it_hangs(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A conversion to ONNX and another format, whose converter hangs."""
    with _program(tmp_path, "conversion") as process:
        yield process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_and_no_partial_file(
    run_until_it_hangs: subprocess.Popen[bytes], tmp_path: Path, number: int, status: int
) -> None:
    children = [child.pid for child in psutil.Process(run_until_it_hangs.pid).children()]
    pids = [*pids_in(tmp_path / "pids"), *children]
    run_until_it_hangs.send_signal(number)
    assert run_until_it_hangs.wait(timeout=30) == status
    assert wait_until_gone(pids)
    assert list((tmp_path / "cache" / "runs").glob("*")) == []
    assert _files(tmp_path / "out") <= {"m.onnx"}


def test_a_verification_that_is_interrupted_is_no_verdict(tmp_path: Path) -> None:
    with _program(tmp_path, "verification") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert wait_until_gone(pids_in(tmp_path / "pids"))
    assert not (tmp_path / "out").exists()


def test_after_a_kill_the_next_run_clears_up(
    run_until_it_hangs: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    worker, child = pids_in(tmp_path / "pids")
    run_until_it_hangs.kill()
    run_until_it_hangs.wait()
    assert wait_until_gone([worker])
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    assert list((tmp_path / "cache" / "runs").glob("run-*"))
    (tmp_path / "out" / f".edgeconv-{run_until_it_hangs.pid}-0.partial").write_text("half")
    (tmp_path / "out" / ".edgeconv-notes.partial").write_text("somebody's")
    desk = Desk(tmp_path)
    assert desk.convert("onnx").exit_status == 0
    assert desk.leftovers() == []
    assert desk.files() == [".edgeconv-notes.partial", "m.onnx"]


def test_runs_side_by_side_leave_each_other_alone(
    run_until_it_hangs: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    before = list((tmp_path / "cache" / "runs").glob("run-*"))
    assert Desk(tmp_path).convert("tflite").exit_status == 0
    assert list((tmp_path / "cache" / "runs").glob("run-*")) == before
    assert run_until_it_hangs.poll() is None


def test_an_interruption_before_all_goals_have_begun_ends_the_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.execute import executor

    class Interrupted(ThreadPoolExecutor):
        def submit(self, function: object, /, *_: object, **__: object) -> Future[Any]:
            if self._threads:
                raise KeyboardInterrupt
            return super().submit(function)  # type: ignore[arg-type]

    monkeypatch.setattr(executor, "ThreadPoolExecutor", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        desk.convert("onnx", "tflite", "savedmodel")
    assert not desk.out.exists()
    assert not [t for t in threading.enumerate() if t.name.startswith("goal")]


def test_signals_become_an_interrupt_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as caught, interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert isinstance(caught.value, TerminatedError)
    assert exit_status(caught.value) == 143
    assert exit_status(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) == before


@contextmanager
def _small_files(most: int) -> Iterator[None]:
    """Writing more than `most` bytes into a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_when_delivering(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeconv.execute import delivery
    from edgeconv.store import files

    def copy_on_full_disk(source: Path, target: Path) -> None:
        with one_at_a_time, _small_files(4096):
            real_copy(source, target)

    real_copy = files.copy
    one_at_a_time = threading.Lock()  # the limit is of the whole process
    monkeypatch.setattr(delivery, "copy", copy_on_full_disk)
    desk.model.write_text("hello\n" + "w" * 100_000)
    desk.out.mkdir()
    (desk.out / "m.onnx").write_text(OLDER)
    outcome = desk.convert("onnx", "savedmodel")
    assert isinstance(goal(outcome, "onnx").error, OutputError)
    assert isinstance(goal(outcome, "savedmodel").error, OutputError)
    assert outcome.exit_status == 2
    assert _files(desk.out) == {"m.onnx"}
    assert (desk.out / "m.onnx").read_text() == OLDER


def test_a_disk_that_is_full_while_converting(desk: Desk) -> None:
    from tests.execute.desk import with_entry

    outcome = desk.convert(
        "savedmodel", specs=with_entry({"plain-savedmodel": "hostile:fill_disk"})
    )
    error = goal(outcome, "savedmodel").error
    assert isinstance(error, OutputError)
    assert "No space left" in error.why
    assert not desk.out.exists()
    assert desk.leftovers() == []


def test_a_real_full_disk(desk: Desk, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        desk.model.write_text("hello\n" + "w" * 100_000)
        outcome = desk.convert("onnx", out=disk / "out")
        assert isinstance(goal(outcome, "onnx").error, OutputError)
        assert list(disk.iterdir()) == []


def test_a_full_cache_costs_a_warning_and_no_more(desk: Desk, tmp_path: Path) -> None:
    from edgeconv.store import Store

    with mounted(tmp_path / "disk", "size=64k") as disk:
        desk.model.write_text("hello\n" + "w" * 100_000)
        desk.store = Store(disk / "store")
        outcome = desk.convert("onnx")
        assert outcome.exit_status == 0
        assert any("was not cached" in text for text in outcome.warnings)
        assert not any(p.stat().st_size > 50_000 for p in disk.rglob("*") if p.is_file())
        assert json.loads(json.dumps(list(outcome.warnings)))


def _files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
