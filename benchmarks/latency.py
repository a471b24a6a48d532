"""Latency of what edgeconv delivers beside other tools' own files of the same model, side by side on one thread.

`python -m benchmarks.latency ZOO [PREFIX...]`: ZOO is the folder that holds `models.py`; only models whose names begin
with a prefix are measured, all without one. TFLite runs in LiteRT with XNNPACK against the faster of litert-torch's and
onnx2tf's file, ONNX in onnxruntime against torch.onnx's; a file that is wrong is no rival. Writes
`benchmarks/results/latency.json` and `latency.md` after every model, and goes on where an earlier run was stopped
(`--anew` measures again; the rivals' files are kept under the user's cache folder all the same).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

from benchmarks.failures import without_folders
from benchmarks.onnx2tf import cache_folder
from benchmarks.rivals import RIVALS, make_rivals
from benchmarks.zoo import model_names

_RESULTS = Path(__file__).parent / "results"
_SECONDS = 600
# By format: our file, and those it is measured against.
_RACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tflite": ("model.tflite", (RIVALS["litert-torch"], RIVALS["onnx2tf"])),
    "onnx": ("model.onnx", (RIVALS["torch-onnx"],)),
}
_FACTORY = """
import sys
sys.path.insert(0, {zoo!r})
import models

def create():
    return models.build({name!r})
"""
_WANTED = """
import sys
import numpy, torch
sys.path.insert(0, sys.argv[1])
import models
module, inputs = models.build(sys.argv[2])
with torch.no_grad():
    found = torch.utils._pytree.tree_leaves(module(*inputs))
arrays = {f"input_{i:02}": t.numpy() for i, t in enumerate(inputs)}
arrays |= {f"output_{i:02}": t.numpy() for i, t in enumerate(found)}
numpy.savez(sys.argv[3], **arrays)
"""

Row: TypeAlias = "dict[str, object]"


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("prefixes", nargs="*", default=[""])
    parser.add_argument("--anew", action="store_true")
    arguments = parser.parse_intermixed_args()
    zoo, prefixes = arguments.zoo.resolve(), tuple(arguments.prefixes)
    rows = _read_rows()
    for name in model_names(zoo):
        if name.startswith(prefixes) and (arguments.anew or name not in rows):
            rows[name] = _measure(zoo, name)
            _write(rows)
            print(_line(name, rows[name]), flush=True)
    for line in _summary(rows):
        print(line)


def _measure(zoo: Path, name: str) -> Row:
    folder = cache_folder() / "rivals" / name.replace(":", "-")
    failed: Row = dict(make_rivals(zoo, name, folder))
    wanted = folder / "wanted.npz"
    if not wanted.exists():
        command = [sys.executable, "-c", _WANTED, str(zoo), name, str(wanted)]
        subprocess.run(command, check=True, capture_output=True)
    failed |= _convert(zoo, name, folder)
    row: Row = {}
    for format_id, (ours, rivals) in _RACES.items():
        files = [folder / file for file in (ours, *rivals) if (folder / file).exists()]
        row[format_id] = _race(ours, _time(wanted, files))
    return {**row, "failed": failed} if failed else row


def _convert(zoo: Path, name: str, folder: Path) -> Row:
    """Ours, made anew where the code has changed: edgeconv's own cache knows."""
    factory = folder / "factory.py"
    factory.write_text(_FACTORY.format(zoo=str(zoo), name=name))
    for ours, _ in _RACES.values():
        (folder / ours).unlink(missing_ok=True)
    command = [sys.executable, "-m", "edgeconv", "convert", f"{factory}:create", "--name", "model"]
    command += ["--to", ",".join(_RACES), "--output", str(folder), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    return {"edgeconv": without_folders(done.stderr.strip())[:600]} if done.returncode else {}


def _time(wanted: Path, files: Iterable[Path]) -> dict[str, dict[str, float | str]]:
    command = [sys.executable, "-m", "benchmarks.side_by_side", str(wanted), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode:
        return {file.name: {"error": f"status {done.returncode}"} for file in files}
    found: dict[str, dict[str, float | str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _race(ours: str, times: Mapping[str, Mapping[str, float | str]]) -> Row:
    fastest = {
        name: cast("float", t["fastest_ms"]) for name, t in times.items() if "fastest_ms" in t
    }
    rivals = {name: ms for name, ms in fastest.items() if name != ours}
    best = min(rivals, key=lambda name: rivals[name], default=None)
    ratio = fastest[ours] / rivals[best] if best and ours in fastest else None
    return {"ratio": ratio, "best_rival": best, "files": dict(times)}


def _read_rows() -> dict[str, Row]:
    path = _RESULTS / "latency.json"
    found: dict[str, Row] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _write(rows: Mapping[str, Row]) -> None:
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / "latency.json").write_text(json.dumps(rows, indent=1) + "\n")
    files = [file for ours, rivals in _RACES.values() for file in (ours, *rivals)]
    columns = ["model", *(f"{file}, ms" for file in files), *(f"{race}: ratio" for race in _RACES)]
    lines = [f"| {' | '.join(columns)} |", f"| --- | {' | '.join(['---:'] * (len(columns) - 1))} |"]
    lines += [f"| {name} | {' | '.join(_cells(row))} |" for name, row in rows.items()]
    lines += ["", *_summary(rows)]
    (_RESULTS / "latency.md").write_text("\n".join(lines) + "\n")


def _cells(row: Row) -> list[str]:
    cells, ratios = [], []
    for format_id, (ours, rivals) in _RACES.items():
        race = cast("Row", row[format_id])
        files = cast("dict[str, dict[str, float | str]]", race["files"])
        for file in (ours, *rivals):
            ms = files.get(file, {}).get("fastest_ms")
            cells.append(f"{ms:.2f}" if isinstance(ms, float) else "-")
        ratios.append(f"{race['ratio']:.2f}" if race["ratio"] else "-")
    return [*cells, *ratios]


def _summary(rows: Mapping[str, Row]) -> list[str]:
    """Geometric mean and largest ratio of each format."""
    lines = []
    for format_id in _RACES:
        raw = {name: cast("Row", row[format_id])["ratio"] for name, row in rows.items()}
        ratios = {name: value for name, value in raw.items() if isinstance(value, float)}
        if not ratios:
            continue
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        worst = max(ratios, key=lambda name: ratios[name])
        above = sum(ratio > 1.1 for ratio in ratios.values())
        lines.append(
            f"{format_id}: geometric mean {mean:.3f} over {len(ratios)} models, {above} above 1.1, "
            f"largest {ratios[worst]:.2f} ({worst})"
        )
    return lines


def _line(name: str, row: Row) -> str:
    return f"{name:36} {'  '.join(f'{cell:>9}' for cell in _cells(row))}  {row.get('failed', '')}"


if __name__ == "__main__":
    main()
