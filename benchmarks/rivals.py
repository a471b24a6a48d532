"""Other tools' own files of one model of the zoo.

`python -m benchmarks.rivals ZOO MODEL FOLDER TOOL` makes one file in a process of its own; TOOL is a key of `RIVALS`.
`onnx2tf` reads the file that `torch-onnx` left in the folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.failures import describe_failure
from benchmarks.onnx2tf import LATEST, onnx2tf_python
from benchmarks.zoo import build_model

__all__ = ["RIVALS", "make_rivals"]

RIVALS: Mapping[str, str] = {
    "torch-onnx": "torch-onnx.onnx",
    "litert-torch": "litert-torch.tflite",
    "onnx2tf": "onnx2tf.tflite",
}
_SECONDS = 600


def make_rivals(zoo: Path, model: str, folder: Path) -> dict[str, str]:
    """Make what is not there yet, and has not failed before.

    Returns:
        Why a tool made no file, by tool.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    for tool, file in RIVALS.items():
        excuse = folder / f"{tool}.error"
        if not (folder / file).exists() and not excuse.exists():
            error = _make(zoo, model, folder, tool)
            if error:
                excuse.write_text(error)
        if excuse.exists():
            failed[tool] = excuse.read_text()
    return failed


def _make(zoo: Path, model: str, folder: Path, tool: str) -> str:
    command = [sys.executable, "-m", "benchmarks.rivals", str(zoo), model, str(folder), tool]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return f"more than {_SECONDS} s"
    if done.returncode == 0 and (folder / RIVALS[tool]).exists():
        return ""
    return describe_failure(done.returncode, done.stderr)


def _torch_onnx(zoo: Path, model: str, folder: Path) -> None:
    import torch

    module, inputs = build_model(zoo, model)
    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    if program is None:
        raise SystemExit("torch.onnx gave nothing")
    _save(folder / RIVALS["torch-onnx"], program.save)


def _litert_torch(zoo: Path, model: str, folder: Path) -> None:
    import litert_torch

    module, inputs = build_model(zoo, model)
    converted = litert_torch.convert(module, inputs)
    _save(folder / RIVALS["litert-torch"], lambda path: converted.export(str(path)))


def _onnx2tf(zoo: Path, model: str, folder: Path) -> None:  # noqa: ARG001 - one form for all tools
    python = onnx2tf_python(LATEST)
    scratch = folder / "scratch"
    command = [str(python.with_name("onnx2tf")), "-n", "-i", str(folder / RIVALS["torch-onnx"])]
    path = f"{python.parent}:/usr/local/bin:/usr/bin:/bin"  # it calls onnxsim
    subprocess.run(
        [*command, "-o", str(scratch)],
        check=True,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder)},
    )
    (made,) = scratch.glob("*_float32.tflite")
    made.replace(folder / RIVALS["onnx2tf"])
    subprocess.run(["rm", "-r", str(scratch)], check=True)


def _save(path: Path, write: Callable[[Path], object]) -> None:
    """Write aside, so that a file that is there is whole."""
    aside = path.with_name(f"aside-{path.name}")
    write(aside)
    aside.replace(path)


_TOOLS: Mapping[str, Callable[[Path, str, Path], None]] = {
    "torch-onnx": _torch_onnx,
    "litert-torch": _litert_torch,
    "onnx2tf": _onnx2tf,
}

if __name__ == "__main__":
    _TOOLS[sys.argv[4]](Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
