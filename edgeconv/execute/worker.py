"""The host's side of one worker process: start it, talk to it, watch it, end it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import psutil

from edgeconv.errors import FailureKind, StepError, counted, error_from_json
from edgeconv.execute.memory import resident_bytes
from edgeconv.execute.runner import Reply, Task, failure
from edgeconv.plugin.job import Json

__all__ = ["WorkerProcess"]

_MAIN = Path(__file__).with_name("worker_main.py")
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 0.3
_GRACE_SECONDS = 2.0
_LOG_TAIL_BYTES = 64 * 1024
_CHUNK_BYTES = 1 << 16


class WorkerProcess:
    """One process that runs tasks, one at a time.

    Start it from a thread that outlives it: the kernel ends it when the thread that started it ends.

    Args:
        python: The interpreter of the worker's environment.
        environment: All its environment variables.
        generation: Which process of its lane this is.
    """

    def __init__(self, python: Path, *, environment: Mapping[str, str], generation: int) -> None:
        self.generation = generation
        # It has no name: nothing of it remains, however this process ends.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._sent = 0
        self._next_look = 0.0
        self._buffer = b""
        self._ending = threading.Lock()
        self._is_ended = False
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [python, "-I", "-u", "-X", "faulthandler", _MAIN, str(os.getpid())],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def warm(self, modules: list[str]) -> None:
        """Ask it to import modules while it waits for work."""
        with suppress(BrokenPipeError):
            self._send({"op": "warm", "modules": modules})

    def run(self, task: Task) -> Reply:
        """Run one task and wait for it; on a failure the process may be gone afterwards."""
        started, offset = time.monotonic(), self._log_size()
        try:
            answer = self._converse(task, started)
        except StepError as error:
            return Reply(
                error=error,
                seconds=time.monotonic() - started,
                log=self._read_log(offset),
                generation=self.generation,
            )
        except BaseException:  # interrupted: an answer that comes later must not meet the next task
            self.kill()
            raise
        failed = answer.get("error")
        return Reply(
            result=cast("Mapping[str, Json]", answer.get("result") or {}),
            error=error_from_json(failed) if isinstance(failed, dict) else _check(task, answer),
            seconds=cast("float", answer["seconds"]),
            peak_memory_bytes=cast("int", answer["peak_memory_bytes"]),
            log=self._read_log(offset),
            generation=self.generation,
        )

    def kill(self) -> None:
        """End the process and all it started, and wait until it is gone."""
        self.send_end()
        self._process.wait()

    def send_end(self) -> None:
        """Tell the process and all it started to end, whoever is first; a large one takes a while to be gone."""
        with self._ending:
            if self._is_ended:  # its id may belong to another process by now
                return
            self._is_ended = True
            strays = _descendants(self._process.pid) if self.is_alive else []
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for pid in strays:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def dispose(self) -> None:
        """End it and free what it held here; no task may be running."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with suppress(OSError):
                cast("IO[bytes]", stream).close()

    def _send(self, request: Mapping[str, object]) -> None:
        stream = cast("IO[bytes]", self._process.stdin)
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()

    def _converse(self, task: Task, started: float) -> dict[str, Json]:
        self._sent += 1
        request = {"op": "run", "id": self._sent, "title": task.title, "entry": task.entry}
        offset = self._log_size()
        try:
            self._send({**request, "request": task.request})
        except BrokenPipeError:
            raise self._death(task, offset) from None
        while True:
            line = self._read_line()
            if line is None:
                raise self._death(task, offset)
            if line:
                return cast("dict[str, Json]", json.loads(line))
            self._enforce_limits(task, started)

    def _read_line(self) -> bytes | None:
        """The next event; empty when there is none yet, None when the process has closed its end."""
        line, newline, rest = self._buffer.partition(b"\n")
        if newline:
            self._buffer = rest
            return line
        stream = cast("IO[bytes]", self._process.stdout)
        if not select.select([stream], [], [], _POLL_SECONDS)[0]:
            return b""
        chunk = os.read(stream.fileno(), _CHUNK_BYTES)
        self._buffer += chunk
        return b"" if chunk else None

    def _enforce_limits(self, task: Task, started: float) -> None:
        limit = task.timeout_seconds
        if limit is not None and time.monotonic() - started > limit:
            self.kill()
            raise failure(
                FailureKind.TIMED_OUT,
                f"{task.title} was stopped",
                why=f"it took longer than {counted(limit, 'second')}",
                hint="allow more with --timeout SECONDS",
            )
        most = task.memory_limit_bytes
        if most is not None and self._resident_bytes() > most:
            self.kill()
            raise failure(
                FailureKind.OUT_OF_MEMORY,
                f"{task.title} was stopped",
                why=f"it took more than {most / 2**20:.0f} MiB of memory",
                hint="raise the limit with EDGECONV_MEMORY_LIMIT, or convert on a machine with more memory",
            )

    def _resident_bytes(self) -> int:
        """Memory of the process and all it started; looked at now and then, for it takes milliseconds."""
        now = time.monotonic()
        if now < self._next_look:
            return 0
        self._next_look = now + _LOOK_SECONDS
        return resident_bytes(self._process.pid)

    def _death(self, task: Task, offset: int) -> StepError:
        try:
            status = self._process.wait(_GRACE_SECONDS)
            why = f"its process ended with {_status_name(status)}"
        except subprocess.TimeoutExpired:
            status, why = 0, "its process closed the connection without ending"
        self.kill()
        log = self._read_log(offset)
        if status == -signal.SIGKILL or "std::bad_alloc" in log:
            return failure(
                FailureKind.OUT_OF_MEMORY,
                f"{task.title} was killed",
                why="its process was ended from outside, as systems do that run out of memory",
                hint="free memory, or convert fewer formats at once with --jobs 1",
                log=log,
            )
        hint = "what it printed is shown with --verbose"
        return failure(FailureKind.CRASHED, f"{task.title} crashed", why=why, hint=hint, log=log)

    def _log_size(self) -> int:
        return os.fstat(self._log.fileno()).st_size

    def _read_log(self, offset: int) -> str:
        """What was printed since `offset`, or the end of it."""
        start = max(offset, self._log_size() - _LOG_TAIL_BYTES)
        # Not `read`: the worker shares this file's position, and writes there.
        return os.pread(self._log.fileno(), _LOG_TAIL_BYTES, start).decode(errors="replace")


def _check(task: Task, answer: Mapping[str, Json]) -> StepError | None:
    result = answer.get("result")
    if isinstance(result, dict):
        return None
    why = f"its entry '{task.entry}' returned {type(result).__name__}, not a mapping"
    return failure(FailureKind.INTERNAL, f"{task.title} failed", why=why)


def _status_name(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _descendants(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
