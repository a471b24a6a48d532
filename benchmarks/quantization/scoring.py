"""What a float or quantized file answers on held-out samples, and the figure of merit of its answers.

Files are run with their runtimes themselves, not through edgeconv, so that nothing of ours stands between a rival's
file and its figure. Integer inputs and outputs are scaled as the file says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from sample_models.evaluation import METRICS
from sample_models.samples import Array, Samples

__all__ = ["Scale", "cosine", "dequantize", "judge", "predict", "quantize", "snr_db"]

_Run: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Scale(TypedDict):
    """How an integer input or output stands for numbers, as LiteRT tells it."""

    dtype: type[np.generic]
    quantization: tuple[float, int]


def predict(path: Path, samples: Samples) -> dict[str, Array]:
    """All outputs by name, float32, for all samples, one at a time."""
    run = _open_tflite(path) if path.suffix == ".tflite" else _open_onnx(path)
    parts = [
        run({name: array[at : at + 1] for name, array in samples.inputs.items()})
        for at in range(len(samples))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _open_tflite(path: Path) -> _Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    (key,) = interpreter.get_signature_list()
    runner = interpreter.get_signature_runner(key)
    takes, gives = runner.get_input_details(), runner.get_output_details()

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        found = runner(**{name: quantize(array, takes[name]) for name, array in inputs.items()})
        return {name: dequantize(array, gives[name]) for name, array in found.items()}

    return run


def _open_onnx(path: Path) -> _Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def quantize(array: Array, scale: Scale) -> Array:
    """Floats as the integers that a file takes; as they are where it takes floats or they are integers themselves."""
    step, zero = scale["quantization"]
    if not step or not np.issubdtype(array.dtype, np.floating):
        return array
    limits = np.iinfo(np.dtype(scale["dtype"]).name)
    steps = np.round(array.astype(np.float32) / step) + zero
    integers: Array = np.clip(steps, limits.min, limits.max).astype(scale["dtype"])
    return integers


def dequantize(array: Array, scale: Scale) -> Array:
    """The numbers that a file's integers stand for."""
    step, zero = scale["quantization"]
    if not step or not np.issubdtype(array.dtype, np.integer):
        return array
    return ((array.astype(np.float32) - zero) * step).astype(np.float32)


def judge(
    metric: str, outputs: Mapping[str, Array], *, reference: Mapping[str, Array], samples: Samples
) -> float:
    """The figure: share of right answers, area under the curve, or likeness to the float file's outputs."""
    if metric in METRICS:
        return METRICS[metric](outputs, samples.extras)
    first = next(iter(reference))
    return cosine(outputs[first], reference[first])


def cosine(found: Array, wanted: Array) -> float:
    """Mean over samples of the cosine between the vectors of both."""
    left, right = (_flat(array) for array in (found, wanted))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean(np.sum(left * right, axis=1) / lengths))


def snr_db(outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> float:
    """Power of the float file's first output over that of the difference, in decibels; 200 if there is none."""
    first = next(iter(reference))
    wanted, noise = _flat(reference[first]), _flat(outputs[first]) - _flat(reference[first])
    power = float(np.sum(noise**2))
    return 200.0 if power == 0 else 10 * float(np.log10(np.sum(wanted**2) / power))


def _flat(array: Array) -> npt.NDArray[np.float64]:
    return array.reshape(len(array), -1).astype(np.float64)
