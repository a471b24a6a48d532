"""MobileNetV2 to four formats with the public tools, one after another, each loaded and compared once.

`python -m benchmarks.by_hand FOLDER ONNX2TF_PYTHON`: prints the seconds of each part as JSON. SavedModel is made from
the ONNX file by onnx2tf in an environment of its own. `python -m benchmarks.by_hand FOLDER - tflite` does the TFLite
part alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.models import mobilenet_v2

_SAVEDMODEL = """
import sys, numpy as np, tensorflow as tf, onnx2tf
onnx, folder, inputs, wanted = sys.argv[1:]
onnx2tf.convert(input_onnx_file_path=onnx, output_folder_path=folder, output_signaturedefs=True,
                non_verbose=True, copy_onnx_input_output_names_to_tflite=True)
run = tf.saved_model.load(folder).signatures["serving_default"]
image = np.load(inputs).transpose(0, 2, 3, 1)
(got,) = run(tf.constant(image)).values()
assert np.abs(got.numpy() - np.load(wanted)).max() < 1e-3
"""


def main(folder: Path, onnx2tf_python: str, only: str | None) -> None:
    """Time each part and print the figures."""
    module, inputs = mobilenet_v2()
    with torch.no_grad():
        wanted = module(*inputs).numpy()
    np.save(folder / "inputs.npy", inputs[0].numpy())
    np.save(folder / "wanted.npy", wanted)
    parts: dict[str, Callable[[], None]] = {
        "torchscript": lambda: _torchscript(module, inputs, folder, wanted),
        "onnx": lambda: _onnx(module, inputs, folder, wanted),
        "tflite": lambda: _tflite(module, inputs, folder, wanted),
        "savedmodel": lambda: _savedmodel(folder, onnx2tf_python),
    }
    seconds = {}
    for name, part in parts.items():
        if only in (None, name):
            started = time.perf_counter()
            part()
            seconds[name] = round(time.perf_counter() - started, 2)
    print(json.dumps(seconds))


def _compare(got: np.ndarray[tuple[int, ...], np.dtype[np.float32]], wanted: object) -> None:
    difference = float(np.abs(got - np.asarray(wanted)).max())
    if difference > 1e-3:
        raise SystemExit(f"the result differs by {difference}")


def _torchscript(
    module: torch.nn.Module, inputs: tuple[torch.Tensor], folder: Path, wanted: object
) -> None:
    path = folder / "model.torchscript.pt"
    torch.jit.trace(module, inputs).save(str(path))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        _compare(torch.jit.load(str(path))(*inputs).numpy(), wanted)  # type: ignore[no-untyped-call]


def _onnx(
    module: torch.nn.Module, inputs: tuple[torch.Tensor], folder: Path, wanted: object
) -> None:
    import onnxruntime

    path = folder / "model.onnx"
    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    if program is None:
        raise SystemExit("torch.onnx gave nothing")
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    _compare(session.run(None, {name: inputs[0].numpy()})[0], wanted)


def _tflite(
    module: torch.nn.Module, inputs: tuple[torch.Tensor], folder: Path, wanted: object
) -> None:
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "model.tflite"
    litert_torch.convert(module, inputs).export(str(path))
    runner = Interpreter(str(path)).get_signature_runner()
    (got,) = runner(args_0=inputs[0].numpy()).values()
    _compare(got, wanted)


def _savedmodel(folder: Path, onnx2tf_python: str) -> None:
    # onnx2tf fetches this file unless it lies in the working folder.
    np.save(
        folder / "calibration_image_sample_data_20x128x128x3_float32.npy",
        np.zeros((20, 128, 128, 3), dtype=np.float32),
    )
    files = ["model.onnx", "savedmodel", "inputs.npy", "wanted.npy"]
    subprocess.run(
        [onnx2tf_python, "-c", _SAVEDMODEL, *files], cwd=folder, check=True, stdout=sys.stderr
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
