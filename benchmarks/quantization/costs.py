"""What quantizing costs: memory while calibrating with few and many samples, and time of a search within a budget.

`python -m benchmarks.quantization.costs calibrate WORK COUNT` and `… search WORK` do one piece of work; `measure_costs`
runs each in a process of its own and watches it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.failures import describe_failure
from benchmarks.measure import observe
from benchmarks.quantization.cases import find_case
from benchmarks.quantization.ours import quantize_ours
from benchmarks.quantization.rows import Row, key_of
from sample_models.samples import Array

__all__ = ["COSTS", "measure_cost"]

_SHAPE = (3, 224, 224)
_BATCH = 10
_FEW, _MANY = 100, 100_000
_MAX_DROP = 0.001

COSTS = {
    key_of("3x224x224", "int8", f"calibration with {_FEW:,} samples"): ("calibrate", str(_FEW)),
    key_of("3x224x224", "int8", f"calibration with {_MANY:,} samples"): ("calibrate", str(_MANY)),
    key_of("digits_mobilenet", "int8", f"search, max_drop={_MAX_DROP}"): ("search",),
}
"""What is measured, by key of the row, and the words that have it done."""


def measure_cost(work: Path, words: tuple[str, ...]) -> Row:
    """Seconds on the wall and the most memory that all processes held together."""
    action, *rest = words
    found = observe([sys.executable, "-m", __name__, action, str(work), *rest])
    if found.status:
        return Row(error=describe_failure(found.status, found.errors))
    return Row(seconds=found.wall_seconds, peak_memory_bytes=found.peak_memory_bytes)


def _stream(count: int) -> Iterator[dict[str, Array]]:
    """Made-up images, batch by batch, never all at once; a single batch is drawn, and shifted each time."""
    images = np.random.default_rng(0).random((_BATCH, *_SHAPE), dtype=np.float32)
    for at in range(count // _BATCH):
        yield {"image": np.roll(images, at, axis=-1)}


def _calibrate(work: Path, count: int) -> None:
    """The network of `digits_mobilenet` with images of the usual size."""
    import torch

    import edgeconv as ec
    from sample_models.digits_mobilenet.model import create

    torch.manual_seed(0)
    folder = work / "calibration-memory"
    example = torch.rand(1, *_SHAPE)
    captured = ec.capture(create(), (example,), name="large", dynamic={"image": {0: "N"}})
    artifact = ec.convert(captured, to="tflite", out=folder)["tflite"]
    stream, out = partial(_stream, count), folder / "int8"
    ec.quantize(artifact, recipe="int8", calibration=stream, out=out, use_cache=False)


def _search(work: Path) -> None:
    quantize_ours(find_case("digits_mobilenet", work), "int8", "tflite", max_drop=_MAX_DROP)


if __name__ == "__main__":
    if sys.argv[1] == "calibrate":
        _calibrate(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        _search(Path(sys.argv[2]))
