"""The process in which converters run, so that a native crash or a leak ends a step and not the whole run.

Run as `python -I -u worker_main.py PARENT_PID` by the interpreter of the step's environment, which need not
have edgeconv: this file uses the standard library alone. Requests arrive as JSON lines on stdin, events leave
as JSON lines on a private copy of stdout; whatever tools print, natively too, goes to stderr, which is the log
file that the parent opened, and cannot mix with the protocol.

Requests:
    {"op": "run", "id": …, "title": …, "entry": "module:function" or {"path": …, "function": …}, "request": {…}}
    {"op": "warm", "modules": […]}      imported while there is nothing else to do; failures do not matter
    {"op": "exit"}

Events:
    {"id": …, "event": "done", "result": {…}, "seconds": …, "peak_memory_bytes": …}
    {"id": …, "event": "failed", "error": {…}, "seconds": …, "peak_memory_bytes": …}
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import importlib.util
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

_PR_SET_PDEATHSIG = 1
# A module that is imported, and a program that is exported, are a million objects, few of them garbage: looking through
# them again and again, as Python does by default, takes a quarter of the time.
GARBAGE_THRESHOLDS = (1_000_000, 20, 1000)
_HINTS = {
    "internal": "what it printed, and the traceback, are shown with --verbose",
    "missing_tool": "install the module that is named, beside edgeconv",
    "out_of_memory": "free memory, or convert fewer formats at once with --jobs 1",
}
# What a step must have left behind, besides what was imported for it, to be worth a look through its objects, and a look
# through what it freed: milliseconds, and 650 MB of the 700 MB that verifying an ONNX file of 290 MB leaves.
_MUCH_GARBAGE_BYTES = 350_000_000
_SOME_GARBAGE_BYTES = 50_000_000
# How much more of files may be mapped before pages are given back, which takes some 50 ms, and how often to look.
_MANY_FILE_BYTES = 100_000_000
_LOOK_SECONDS = 0.25
_MADV_DONTNEED = 4
_MEMORY_PHRASES = ("can't allocate memory", "out of memory", "std::bad_alloc", "Unable to allocate")

Json = dict[str, object]
Entry = Callable[[Json, Json], Json]


class Worker:
    """Takes requests one after the other; imports what was asked to be warm while it waits.

    Args:
        events: Where events are written.
    """

    def __init__(self, events: IO[str]) -> None:
        self._events = events
        self._requests: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self._cold: deque[str] = deque()
        self._context: Json = {}
        self._loaded: dict[str, Entry] = {}
        self._held_bytes = 0

    def submit(self, request: Json) -> None:
        """Queue a request; called by the thread that reads them."""
        self._requests.put(request)

    def serve(self) -> None:
        """Work until asked to exit."""
        while True:
            request = self._next()
            if request is None:
                _import_quietly(self._cold.popleft())
            elif request["op"] == "exit":
                return
            elif request["op"] == "warm":
                self._cold.extend(cast("list[str]", request["modules"]))
            else:
                self._answer(request)

    def _next(self) -> Json | None:
        """The next request; None when there is time to import something."""
        try:
            return self._requests.get(block=not self._cold)
        except queue.Empty:
            return None

    def _answer(self, request: Json) -> None:
        _reset_peak_memory()
        started, process = time.perf_counter(), os.getpid()
        outcome = self._attempt(request)
        if os.getpid() != process:
            # What runs the user's code was forked by it. The answer is the parent's to give.
            _flush_output()
            os._exit(0 if outcome["event"] == "done" else 1)
        outcome |= {
            "id": request["id"],
            "seconds": time.perf_counter() - started,
            "peak_memory_bytes": _peak_memory_bytes(),
        }
        _flush_output()
        self._events.write(json.dumps(outcome) + "\n")
        self._events.flush()
        _free_memory(_status_bytes("RssAnon") - self._held_bytes)

    def _attempt(self, request: Json) -> Json:
        title = str(request.get("title") or "the step")
        try:
            function = self._load(request["entry"])
            self._held_bytes = _status_bytes("RssAnon")
            result = function(cast("Json", request["request"]), self._context)
            # What cannot be sent must fail here, where it still becomes an answer.
            return {"event": "done", "result": json.loads(json.dumps(result))}
        except BaseException as error:  # noqa: BLE001 - user code may call sys.exit(); it too becomes an answer
            return {"event": "failed", "error": _describe(title, error)}

    def _load(self, entry: object) -> Entry:
        key = json.dumps(entry)
        if key not in self._loaded:
            with _no_garbage():
                self._loaded[key] = _load_entry(entry)
        return self._loaded[key]


def _load_entry(entry: object) -> Entry:
    if isinstance(entry, dict):
        path = Path(str(entry["path"]))
        spec = importlib.util.spec_from_file_location(f"edgeconv_entry_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"'{path}' is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return cast("Entry", getattr(module, str(entry["function"])))
    name, _, function = str(entry).partition(":")
    return cast("Entry", getattr(importlib.import_module(name), function))


def _import_quietly(name: str) -> None:
    try:
        with _no_garbage():
            importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - the job that needs the module reports it
        traceback.print_exc()


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """What is imported inside stays: nobody looks for garbage there, neither now nor later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _describe(title: str, error: BaseException) -> Json:
    traceback.print_exception(error)  # the log has it, for whoever asks for it
    if hasattr(error, "to_json") and hasattr(error, "failure_kind"):
        return cast("Json", error.to_json())
    if _is_disk_full(error):
        return {
            "code": "output",
            "message": f"{title} could not write its result",
            "why": os.strerror(errno.ENOSPC),
            "hint": "free disk space, or set EDGECONV_CACHE_DIR to a folder on a larger disk",
        }
    kind = _failure_kind(error)
    return {
        "code": "step",
        "failure_kind": kind,
        "message": f"{title} failed",
        "why": f"{type(error).__name__}: {error}",
        "hint": _HINTS.get(kind, ""),
        "details": [
            f"at {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-1:]
        ],
    }


def _is_disk_full(error: BaseException) -> bool:
    """Whether the disk is full; libraries put it into errors of their own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return os.strerror(errno.ENOSPC) in str(error)


def _failure_kind(error: BaseException) -> str:
    if isinstance(error, MemoryError) or any(text in str(error) for text in _MEMORY_PHRASES):
        return "out_of_memory"
    return "missing_tool" if isinstance(error, ImportError) else "internal"


def _flush_output() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def _free_memory(left_bytes: int) -> None:
    """Give back what a step with large weights left: graphs are cycles, and the C library keeps what it was given."""
    if left_bytes > _MUCH_GARBAGE_BYTES:
        gc.collect()
    if left_bytes > _SOME_GARBAGE_BYTES:
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _forget_library_pages() -> None:
    """Unmap the pages of libraries that were touched when they were loaded, now and then, as long as the process lives.

    They are 200 to 400 MB for each framework. Most are never needed again, and those that are come back from the file.
    Several frameworks live side by side in their processes, and without this what they hold of their files would be
    the most of all that a small model takes.
    """
    kept = 0
    while True:
        time.sleep(_LOOK_SECONDS)
        if _status_bytes("RssFile") < kept + _MANY_FILE_BYTES:
            continue
        advise = ctypes.CDLL(None).madvise
        for start, size in _clean_library_pages(Path("/proc/self/smaps").read_text()):
            advise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_DONTNEED)
        kept = _status_bytes("RssFile")


def _clean_library_pages(smaps: str) -> Iterator[tuple[int, int]]:
    """Start and size of each mapping of a library that nobody writes, and nobody wrote: its file holds the same."""
    place, is_library = "", False
    for line in smaps.splitlines():
        first, *rest = line.split(None, 5)
        if not first.endswith(":"):
            place, flags, path = first, rest[0], rest[4] if len(rest) > 4 else ""
            is_library = flags in ("r-xp", "r--p") and ".so" in path
        elif is_library and (first, rest[0]) == ("Anonymous:", "0"):
            start, end = (int(part, 16) for part in place.split("-"))
            yield start, end - start


def _status_bytes(field: str) -> int:
    """A figure of this process as the kernel tells it; 0 where it does not."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def _reset_peak_memory() -> None:
    """Make the kernel forget the largest resident size so far; it may not let us, and the figure is then too large."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_bytes() -> int:
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _end_with_parent(parent: int) -> None:
    """Ask the kernel to end this process with its parent; a parent that is gone already ends it now."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end() -> None:
    """End this process and all it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _read_requests(stream: IO[str], worker: Worker) -> None:
    for line in stream:
        worker.submit(json.loads(line))
    _end()


def _claim_streams() -> tuple[IO[str], IO[str]]:
    """Private copies of stdin and stdout; the public ones become nothing and the log, which stderr is."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, events


def main(arguments: list[str]) -> None:
    """Serve requests until told to exit, or until the parent is gone."""
    requests, events = _claim_streams()
    _end_with_parent(int(arguments[0]))
    # Ctrl-C is the parent's to handle; a crash must not leave a core file in the user's folder.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    worker = Worker(events)
    threading.Thread(target=_read_requests, args=(requests, worker), daemon=True).start()
    threading.Thread(target=_forget_library_pages, daemon=True).start()
    worker.serve()
    _flush_output()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
