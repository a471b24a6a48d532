"""onnx2tf in environments of its own, made on first use under the user's cache folder: it pins all that it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs

__all__ = ["cache_folder", "onnx2tf_python"]

WITH_TENSORFLOW = "onnx2tf==1.29.24"  # the last that writes a SavedModel by TensorFlow
LATEST = "onnx2tf==2.6.9"
_LATEST_PYTHON = "3.12"


def cache_folder() -> Path:
    """Where benchmarks keep what they need not make again."""
    return Path(platformdirs.user_cache_dir("edgeconv")) / "benchmarks"


def onnx2tf_python(requirement: str = WITH_TENSORFLOW) -> Path:
    """The interpreter of an environment that has onnx2tf.

    Raises:
        subprocess.CalledProcessError: It cannot be installed.
        FileNotFoundError: The latest one asks for a Python that this machine lacks.
    """
    is_latest = requirement == LATEST
    home = cache_folder() / (requirement.replace("==", "-") if is_latest else "onnx2tf")
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        uv = [sys.executable, "-m", "uv"]
        version = ["--python", _find_python(_LATEST_PYTHON)] if is_latest else []
        subprocess.run([*uv, "venv", "--quiet", "--clear", *version, str(home)], check=True)
        install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*install, requirement], check=True)
        (home / "ready").touch()
    return python


def _find_python(version: str) -> str:
    """An interpreter on the path that starts, or one of pyenv's that is not on it."""
    name = f"python{version}"
    try:
        subprocess.run([name, "--version"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        asked = subprocess.run(["pyenv", "root"], check=True, capture_output=True, text=True)
        found = sorted(Path(asked.stdout.strip()).glob(f"versions/{version}.*/bin/python"))
        if not found:
            raise FileNotFoundError(f"{name} is needed by {LATEST}") from None
        return str(found[-1])
    return name
