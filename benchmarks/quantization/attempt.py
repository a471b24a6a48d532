"""One model, one recipe, one tool, in a process of its own: a kernel that ends the process ends no benchmark.

`python -m benchmarks.quantization.attempt WORK CASE RECIPE TOOL` prints the row as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.failures import describe_failure
from benchmarks.quantization.cases import SUFFIXES, Case, find_case
from benchmarks.quantization.ours import OURS, quantize_ours
from benchmarks.quantization.rivals import RIVALS
from benchmarks.quantization.rows import FLOAT, Row
from benchmarks.quantization.scoring import judge, predict, snr_db

__all__ = ["attempt", "format_of"]

_SECONDS = 900


def attempt(work: Path, case: str, recipe: str, tool: str) -> Row:
    """The figures of what a tool makes, or why it makes nothing."""
    command = [sys.executable, "-m", __name__, str(work), case, recipe, tool]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Row(error=f"more than {_SECONDS} s")
    if done.returncode:
        return Row(error=describe_failure(done.returncode, done.stderr))
    return Row.model_validate_json(done.stdout.splitlines()[-1])


def format_of(tool: str) -> str:
    """Format id of what a tool writes."""
    return OURS[tool] if tool in OURS else RIVALS[tool].writes


def _attempt(case: Case, recipe: str, tool: str) -> Row:
    format_id = format_of(tool)
    float_file, samples = case.artifact(format_id), case.test()
    reference = predict(float_file, samples)
    wanted = judge(case.metric, reference, reference=reference, samples=samples)
    if recipe == FLOAT:
        return Row(figure=wanted, drop=0.0, snr_db=200.0, size_bytes=float_file.stat().st_size)
    started = time.perf_counter()
    path = _quantize(case, recipe, tool)
    seconds = time.perf_counter() - started
    outputs = predict(path, samples)
    figure = judge(case.metric, outputs, reference=reference, samples=samples)
    return Row(
        figure=figure,
        drop=wanted - figure,
        snr_db=snr_db(outputs, reference),
        size_bytes=path.stat().st_size,
        seconds=seconds,
    )


def _quantize(case: Case, recipe: str, tool: str) -> Path:
    if tool in OURS:
        return quantize_ours(case, recipe, OURS[tool])
    rival = RIVALS[tool]
    case.artifact(rival.reads)
    path = (
        case.folder
        / f"{tool.replace(', ', '-').replace(' ', '-')}.{recipe}{SUFFIXES[rival.writes]}"
    )
    rival.work[recipe](case, path)
    return path


def _main(work: str, case: str, recipe: str, tool: str) -> None:
    row = _attempt(find_case(case, Path(work)), recipe, tool)
    print(json.dumps(row.model_dump(exclude_none=True)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
