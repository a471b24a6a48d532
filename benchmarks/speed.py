"""Speed and memory of edgeconv beside the same work done by hand, in one run.

`python -m benchmarks.speed` prints a table and writes `benchmarks/results/speed.json`. The environment of onnx2tf is made
on first use under the user's cache folder.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Measurement, measure
from benchmarks.onnx2tf import onnx2tf_python

_RESULTS = Path(__file__).parent / "results" / "speed.json"
_EDGECONV = (sys.executable, "-m", "edgeconv")
_TURNS = 5
_ALL = "onnx,torchscript,savedmodel,tflite"


def main() -> None:
    """Measure everything and print it."""
    onnx2tf = str(onnx2tf_python())
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        figures |= _help()
        figures |= _mobilenet(folder, onnx2tf)
        figures |= _tflite_alone(folder)
        figures |= _large(folder)
    for name, value in figures.items():
        print(f"{name:64s} {value:10.2f}")
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


def _convert(folder: Path, factory: str, goals: str, name: str) -> Measurement:
    return measure(
        [
            *_EDGECONV, "convert", f"benchmarks.models:{factory}", "--to", goals,
            "--output", str(folder / name), "--quiet",
        ],
        environment={"EDGECONV_CACHE_DIR": str(folder / f"cache-{name}"), "PYTHONPATH": "."},
    )  # fmt: skip


def _help() -> dict[str, float]:
    commands = {"--help": ["--help"], "convert --help": ["convert", "--help"]}
    return {
        f"CPU seconds of edgeconv {name}": min(
            measure([*_EDGECONV, *arguments]).cpu_seconds for _ in range(3)
        )
        for name, arguments in commands.items()
    }


def _mobilenet(folder: Path, onnx2tf: str) -> dict[str, float]:
    ours = _convert(folder, "mobilenet_v2", _ALL, "mobilenet")
    again = _convert(folder, "mobilenet_v2", _ALL, "mobilenet")
    bin_folder = str(Path(onnx2tf).parent)
    hand = folder / "by-hand"
    hand.mkdir()
    theirs = measure(
        [sys.executable, "-m", "benchmarks.by_hand", str(hand), onnx2tf],
        environment={"PATH": f"{bin_folder}:/usr/local/bin:/usr/bin:/bin"},
    )
    parts = json.loads(theirs.output.strip().splitlines()[-1])
    return {
        "MobileNetV2, four formats, edgeconv: seconds": ours.wall_seconds,
        **{f"MobileNetV2, {name} by hand: seconds": value for name, value in parts.items()},
        "MobileNetV2, four formats by hand: seconds": theirs.wall_seconds,
        "MobileNetV2, four formats: by hand / edgeconv": theirs.wall_seconds / ours.wall_seconds,
        "MobileNetV2, four formats, unchanged second run: seconds": again.wall_seconds,
        "MobileNetV2, peak memory of all processes, MB": ours.peak_memory_bytes / 1e6,
    }


def _tflite_alone(folder: Path) -> dict[str, float]:
    """Both take turns, for the machine's speed drifts; what counts is the median of each."""
    ours, theirs = [], []
    for turn in range(_TURNS):
        ours.append(_convert(folder, "mobilenet_v2", "tflite", f"tflite-{turn}").wall_seconds)
        hand = folder / f"tflite-by-hand-{turn}"
        hand.mkdir()
        by_hand = [sys.executable, "-m", "benchmarks.by_hand", str(hand), "-", "tflite"]
        theirs.append(measure(by_hand).wall_seconds)
    medians = statistics.median(ours), statistics.median(theirs)
    return {
        "MobileNetV2, TFLite alone, edgeconv: seconds": medians[0],
        "MobileNetV2, TFLite alone, litert-torch: seconds": medians[1],
        "MobileNetV2, TFLite alone: litert-torch / edgeconv": medians[1] / medians[0],
    }


def _large(folder: Path) -> dict[str, float]:
    ours = _convert(folder, "large_perceptron", _ALL, "large")
    return {
        "400 MB of weights, four formats: seconds": ours.wall_seconds,
        "400 MB of weights, peak memory of all processes, MB": ours.peak_memory_bytes / 1e6,
    }


if __name__ == "__main__":
    main()
