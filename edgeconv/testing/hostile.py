"""Converters that behave as badly as real tools do; each must become a typed failure and cost nothing but its route."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import MutableMapping
from importlib import import_module
from pathlib import Path
from typing import cast

from edgeconv.plugin import Json

Context = MutableMapping[str, object]


def crash(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Die of a segmentation fault in native code."""
    os.write(2, b"about to read address 0\n")
    ctypes.string_at(0)
    return {}


def exit_process(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """End the process without a word."""
    os._exit(3)


def exit_politely(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Call sys.exit, as command-line code does."""
    sys.exit("cannot go on")


def hang(request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Start a child and never come back; the ids of both go to the file named by the option `pids`."""
    _tell_pids(request)
    _start_output(request)
    time.sleep(600)
    return {}


def hang_holding_the_lock(request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """As `hang`, in native code that holds the interpreter's lock, so that no Python thread can react."""
    _tell_pids(request)
    ctypes.PyDLL(None).sleep(600)
    return {}


def fill_memory(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Take memory, 16 MiB at a time, until stopped."""
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1 << 20) * 16))
        time.sleep(0.01)


def run_out_of_memory(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Be refused memory."""
    raise MemoryError("Unable to allocate 3.64 TiB")


def fill_disk(request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Leave half a file, and be refused more space."""
    _start_output(request)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(request["output"]))


def print_noise(request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Print to every stream, at every level, what looks like the protocol; read stdin; then succeed."""
    line = '{"id": 1, "event": "done", "result": {}}\n'
    print(line)  # noqa: T201 - printing is the point
    print(line, file=sys.stderr)  # noqa: T201 - likewise
    os.write(1, line.encode())
    ctypes.CDLL(None).puts(line.encode())
    subprocess.run(["/bin/echo", line], check=True)  # noqa: S603 - a fixed command
    if sys.stdin.read():
        raise RuntimeError("stdin holds something")
    Path(str(request["output"])).write_text("hello")
    return {"output": request["output"]}


def raise_error(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Fail with an exception of no particular kind."""
    raise ValueError("the seventh tensor is cursed")


def miss_tool(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Import what is not installed."""
    import no_such_tool  # type: ignore[import-not-found]

    return {"output": str(no_such_tool)}


def return_garbage(_request: dict[str, Json], _context: Context) -> list[int]:
    """Return what is no result."""
    return [1, 2, 3]


def return_unserializable(_request: dict[str, Json], _context: Context) -> dict[str, object]:
    """Return what JSON cannot carry."""
    return {"output": threading.Lock()}


def return_nothing(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Return a mapping without any of the fields."""
    return {"done": True}


def leave_no_output(request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Claim success without a file."""
    return {"output": request["output"]}


def point_elsewhere(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Claim that a file of somebody else is the result."""
    return {"output": "/etc/hostname"}


def damage_onnx(request: dict[str, Json], context: Context) -> dict[str, Json]:
    """Do what the function named by the option `entry` does, then change a number among the weights it wrote."""
    import numpy as np
    import onnx

    result = _delegate(request, context)
    path = str(result["output"])
    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.array(onnx.numpy_helper.to_array(weight))
    values.flat[0] += 1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    return result


def crash_on_operator(request: dict[str, Json], context: Context) -> dict[str, Json]:
    """Die of the ATen operator named by the option `operator`; without it do what the option `entry` names."""
    from edgeconv.formats.torch_export import load_program

    options = cast("dict[str, Json]", request["options"])
    inputs = cast("dict[str, str]", request["inputs"])
    graph = load_program(Path(inputs["source"])).graph
    if any(str(node.target) == options["operator"] for node in graph.nodes):
        return crash(request, context)
    return _delegate(request, context)


def mistranslate_onnx(request: dict[str, Json], context: Context) -> dict[str, Json]:
    """Do what the option `entry` names, then make every ONNX operator `from` one of type `to`."""
    import onnx

    options = cast("dict[str, Json]", request["options"])
    result = _delegate(request, context)
    path = str(result["output"])
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == options["from"]:
            node.op_type = str(options["to"])
    onnx.save(model, path)
    return result


def _delegate(request: dict[str, Json], context: Context) -> dict[str, Json]:
    options = cast("dict[str, Json]", request["options"])
    module, _, function = str(options["entry"]).partition(":")
    return cast("dict[str, Json]", getattr(import_module(module), function)(request, context))


def close_streams(_request: dict[str, Json], _context: Context) -> dict[str, Json]:
    """Close every file, the protocol's too, and stay."""
    os.closerange(0, 256)
    time.sleep(600)
    return {}


def _tell_pids(request: dict[str, Json]) -> None:
    child = subprocess.Popen(["/bin/sleep", "600"])
    options = cast("dict[str, Json]", request.get("options") or {})
    if "pids" in options:
        aside = Path(f"{options['pids']}.aside")
        aside.write_text(f"{os.getpid()} {child.pid}")
        aside.replace(str(options["pids"]))


def _start_output(request: dict[str, Json]) -> None:
    if "output" in request:
        Path(str(request["output"])).write_text("half a mod")
