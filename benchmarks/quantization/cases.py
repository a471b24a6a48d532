"""The models that are quantized, as float artifacts, with calibration data and held-out samples.

All sample models, and two with rescaled channels (see `channels`).
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quantization.channels import RESCALED, rescaled_model
from sample_models.calibration import calibration_names
from sample_models.cards import CALIBRATION_FILE, TEST_FILE, folder_of, read_card
from sample_models.samples import Samples, load_samples
from sample_models.storage import example_inputs

__all__ = ["SUFFIXES", "Case", "case_names", "find_case"]

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx", "savedmodel": ".savedmodel"}
_COSINE = "cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model to quantize.

    Attributes:
        name: Names the float artifacts too.
        sample: The sample model whose data it takes.
        metric: `top1`, `auc`, or `cosine`: how alike the outputs are to those of the float artifact.
        folder: Where its float artifacts are, and all that is made from them.
    """

    name: str
    sample: str
    metric: str
    folder: Path

    @property
    def calibration_file(self) -> Path:
        """A `.npz` with the inputs alone."""
        return folder_of(self.sample) / CALIBRATION_FILE

    @property
    def test_file(self) -> Path:
        """A `.npz` with inputs and labels."""
        return folder_of(self.sample) / TEST_FILE

    def calibration(self) -> Samples:
        """What every tool is calibrated with."""
        return load_samples(self.calibration_file, read_card(self.sample).input_names())

    def test(self) -> Samples:
        """What every result is judged by."""
        return load_samples(self.test_file, read_card(self.sample).input_names())

    def artifact(self, format_id: str) -> Path:
        """The float artifact of a format; made with all others if it is missing."""
        path = self.folder / f"{self.name}{SUFFIXES[format_id]}"
        if not path.exists():
            _convert(self)
        return path


def case_names() -> tuple[str, ...]:
    """All cases: the sample models that are not integers already, then those with rescaled channels."""
    return (*calibration_names(), *RESCALED)


def find_case(name: str, work: Path) -> Case:
    """The case of that name, whose files are kept under `work`."""
    sample = RESCALED.get(name, name)
    metric = read_card(sample).metric.name
    known = metric if metric in {"top1", "auc"} else _COSINE
    return Case(name=name, sample=sample, metric=known, folder=work / name)


def _convert(case: Case) -> None:
    if case.name in RESCALED:
        _convert_rescaled(case)
        return
    command = shlex.split(read_card(case.sample).convert_command(",".join(SUFFIXES)))[1:-2]
    target = ["--name", case.name, "--output", str(case.folder), "--quiet"]
    subprocess.run([sys.executable, "-m", "edgeconv", *command, *target], check=True)


def _convert_rescaled(case: Case) -> None:
    import edgeconv as ec

    model, example = rescaled_model(case.name), example_inputs(read_card(case.sample).signature())
    captured = ec.capture(model, example, name=case.name, dynamic={"image": {0: "N"}})
    ec.convert(captured, to=tuple(SUFFIXES), out=case.folder)
