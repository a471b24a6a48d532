"""Times files of one model in one process, in turns, so that what else the machine does meets all of them alike.

`python -m benchmarks.side_by_side WANTED.npz FILE...` prints JSON: by file the milliseconds of its fastest and its median
run on one thread, and the largest error relative to the largest output; or why it does not run, or is wrong. What counts
is the processor's time of the whole process, which is the time on the clock where nothing else runs, and says the same where
something does.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_ERROR", "run_file"]

MAX_ERROR = 1e-3
_ROUNDS = (15, 400)
_SECONDS_PER_FILE = 4.0
Array: TypeAlias = NDArray[np.generic]
Runner: TypeAlias = Callable[[], object]


def main(wanted: Path, files: Sequence[Path]) -> None:
    """Check every file, then time those that are right."""
    with np.load(wanted) as arrays:
        inputs = [arrays[key] for key in arrays.files if key.startswith("input")]
        outputs = [arrays[key] for key in arrays.files if key.startswith("output")]
    results: dict[str, dict[str, object]] = {}
    runners: dict[str, Runner] = {}
    for file in files:
        try:
            runners[file.name], error = run_file(file, inputs, outputs)
        except (RuntimeError, ValueError) as refusal:
            results[file.name] = {"error": str(refusal).strip()[:300]}
            continue
        results[file.name] = {"relative_error": error}
    for name, seconds in _time(runners).items():
        results[name] |= {"fastest_ms": min(seconds) * 1e3, "rounds": len(seconds)}
        results[name]["median_ms"] = statistics.median(seconds) * 1e3
    print(json.dumps(results))


def _time(runners: dict[str, Runner]) -> dict[str, list[float]]:
    """Seconds of the processor for each run; runners take turns, each round in another order."""
    for run in runners.values():
        run()
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    names = list(runners)
    ends = time.perf_counter() + _SECONDS_PER_FILE * len(names)
    for number in range(_ROUNDS[1]):
        if number >= _ROUNDS[0] and time.perf_counter() > ends:
            break
        for name in names:
            started = time.process_time()
            runners[name]()
            seconds[name].append(time.process_time() - started)
        names = [*names[1:], names[0]]
    return seconds


def run_file(file: Path, inputs: Sequence[Array], outputs: Sequence[Array]) -> tuple[Runner, float]:
    """What runs the file once, and its relative error.

    Raises:
        ValueError: It computes something else, whatever the order of its inputs.
        RuntimeError: Its runtime refuses it.
    """
    opened = _onnx(file) if file.suffix == ".onnx" else _tflite(file)
    smallest = float("inf")
    for order in itertools.permutations(inputs):
        run = opened(order)
        if run is None:
            continue
        error = _compare(run(), outputs)
        smallest = min(smallest, error)
        if error < MAX_ERROR:
            return run, error
    raise ValueError(f"wrong: relative error {smallest:.2g}")


def _onnx(file: Path) -> Callable[[Sequence[Array]], Callable[[], list[Array]] | None]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    shapes = [item.shape for item in session.get_inputs()]

    def bind(inputs: Sequence[Array]) -> Callable[[], list[Array]] | None:
        if any(len(a.shape) != len(s) for a, s in zip(inputs, shapes, strict=True)):
            return None
        feed = dict(zip(names, inputs, strict=True))

        def run() -> list[Array]:
            found: list[Array] = session.run(None, feed)
            return found

        return run

    return bind


def _tflite(file: Path) -> Callable[[Sequence[Array]], Callable[[], list[Array]] | None]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    details, results = interpreter.get_input_details(), interpreter.get_output_details()

    def bind(inputs: Sequence[Array]) -> Callable[[], list[Array]] | None:
        fitting = [_fit(a, d) for a, d in zip(inputs, details, strict=True)]
        arrays = [a for a in fitting if a is not None]
        if len(arrays) < len(fitting):
            return None

        def run() -> list[Array]:
            for detail, array in zip(details, arrays, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            return [interpreter.get_tensor(detail["index"]) for detail in results]

        return run

    return bind


def _fit(array: Array, detail: dict[str, object]) -> Array | None:
    """The array as the input takes it: itself, or with its channels last."""
    shape = tuple(np.asarray(detail["shape"]))
    dtype = np.dtype(detail["dtype"])  # type: ignore[call-overload]  # LiteRT has no types
    for candidate in _layouts(array):
        if candidate.shape == shape:
            return np.ascontiguousarray(candidate.astype(dtype))
    return None


def _layouts(array: Array) -> Iterator[Array]:
    yield array
    if array.ndim > 2:
        yield np.moveaxis(array, 1, -1)


def _compare(got: Sequence[Array], wanted: Sequence[Array]) -> float:
    """The smallest error over the orders in which outputs may stand."""
    if len(got) != len(wanted):
        return float("inf")
    orders = itertools.permutations(got)
    return min(max(map(_error, order, wanted)) for order in itertools.islice(orders, 24))


def _error(got: Array, wanted: Array) -> float:
    largest = float(np.abs(wanted).max(initial=1e-30))
    for right in _layouts(wanted):
        if right.shape == got.shape:
            difference = np.abs(got.astype(np.float64) - right.astype(np.float64))
            error = float(difference.max(initial=0)) / largest
            if error < MAX_ERROR or right.shape != wanted.shape:
                return error
    return float("inf")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(item) for item in sys.argv[2:]])
