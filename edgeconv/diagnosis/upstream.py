"""Writes the script of a bug report as the developers of the tool that fails want it: a bare call of it, without edgeconv.

Each converter whose work is one call of somebody else's tool has a template with that call, and each format one that runs
what the call made. A script is kept only if it was run and showed the failure: what edgeconv adds to a tool (translations,
dynamic dims) may be to blame, and then the script stays a call of edgeconv.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from edgeconv.diagnosis.failure import exception_of, named_operators
from edgeconv.diagnosis.reproduction import SCRIPT_NAME, TEMPLATES, Reproduction
from edgeconv.errors import EdgeconvError
from edgeconv.formats import find_format
from edgeconv.signature import Signature

__all__ = ["SAVEDMODEL_NAME", "BareCall", "needs_savedmodel", "tool_of"]

SAVEDMODEL_NAME = "subgraph.savedmodel"
_FOLDER = TEMPLATES / "upstream"
_ASIDE = f".{SCRIPT_NAME}"
_NUMBERS_DIFFER = "is off by"
_TOOLS = {
    "torch-onnx": ("torch.onnx", "torch, onnx, onnxscript and onnxruntime"),
    "torch-onnx-torchscript": ("torch.onnx (TorchScript)", "torch, onnx and onnxruntime"),
    "torchscript": (
        "torch.jit.trace",
        "torch",
    ),  # a script is made of the user's module, which is not at hand
    "litert-torch": ("litert-torch", "torch, litert-torch and ai-edge-litert"),
    "tflite-converter": ("TFLiteConverter", "torch, tensorflow and ai-edge-litert"),
}
_logger = logging.getLogger(__name__)


def tool_of(route: Sequence[str]) -> str:
    """What the last converter of a route calls, for people; empty if it is edgeconv's own, or nobody knows."""
    return _TOOLS.get(route[-1], ("", ""))[0]


def needs_savedmodel(route: Sequence[str]) -> bool:
    """Whether the call takes a SavedModel that earlier converters of the route make."""
    return route[-1] == "tflite-converter"


@dataclass(frozen=True, slots=True, kw_only=True)
class BareCall:
    """A script that calls the failing tool itself.

    Attributes:
        reproduction: What is known of the failure.
        error: The failure of the part.
        tolerances: What the outputs of the part may be off by; empty where they were never compared.
        taken: The signature of the SavedModel that the tool takes; None where it takes the program.
    """

    reproduction: Reproduction
    error: EdgeconvError
    tolerances: Sequence[float] = ()
    taken: Signature | None = None

    def put(self, folder: Path, seconds: float) -> bool:
        """Write the script into `folder` in place of the one that calls edgeconv, if it shows the failure.

        Args:
            folder: Of the bug report; holds the program.
            seconds: How long the script may run.

        Returns:
            Whether it does; if not, nothing has changed.
        """
        aside = folder / _ASIDE
        aside.write_text(self._text(), "utf-8")
        shows = self._shows_failure(aside, seconds)
        shutil.rmtree(
            folder / "__pycache__", ignore_errors=True
        )  # of modules that define operators
        if shows:
            aside.replace(folder / SCRIPT_NAME)
        else:
            aside.unlink()
        return shows

    def _text(self) -> str:
        converter, suffix = (
            self.reproduction.route[-1],
            find_format(self.reproduction.format).suffix,
        )
        tool, packages = _TOOLS[converter]
        names = self.taken
        run = _read(f"run_{self.reproduction.format}").substitute(
            inputs=repr([spec.name for spec in names.inputs] if names else []),
            outputs=repr([spec.name for spec in names.outputs] if names else []),
        )
        return _read("script").substitute(
            self.reproduction.words(),
            tool=tool,
            packages=packages,
            tolerances=repr(list(self.tolerances)),
            suffix=suffix,
            convert=_read(converter).substitute(),
            run=run,
        )

    def _shows_failure(self, script: Path, seconds: float) -> bool:
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and our own file
                [sys.executable, script.name],
                cwd=script.parent,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            _logger.info("the bare call of %s did not end", self.reproduction.route[-1])
            return False
        said = f"{done.stdout}\n{done.stderr}"
        _logger.debug("%s ended with %d: %s", script, done.returncode, said)
        has_crashed = done.returncode < 0
        return has_crashed or (done.returncode == 1 and self._is_told(said))

    def _is_told(self, said: str) -> bool:
        """Whether what the script said is the failure that was looked for, and not one of its own."""
        if operators := named_operators(self.error):
            return any(_bare_name(operator) in said for operator in operators)
        if exception := exception_of(self.error):
            return exception.rpartition(".")[2] in said
        return not self.tolerances or _NUMBERS_DIFFER in said


def _read(name: str) -> Template:
    return Template((_FOLDER / f"{name}.py.txt").read_text("utf-8"))


def _bare_name(operator: str) -> str:
    """`special_airy_ai` of `aten.special_airy_ai.default`, since every tool writes the rest in its own way."""
    parts = operator.replace("::", ".").split(".")
    return parts[1] if len(parts) > 1 else operator
