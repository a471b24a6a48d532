"""How long conversions take, frameworks already imported, beside the tools that edgeconv is measured against.

`python -m benchmarks.conversion ZOO [PREFIX...]`: for each model in a process of its own, from the `nn.Module` to *verified*
TFLite and ONNX with edgeconv's API, and to TFLite with litert-torch and ONNX with torch.onnx (dynamo), neither of which
verifies anything. Writes `benchmarks/results/conversion.json` and `conversion.md` after every model, and goes on where it
was stopped (`--anew` starts again). Beside the seconds on the wall stand those of processor time, of the process and all it
started, in which other work on the machine counts for little.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.failures import describe_failure, without_folders
from benchmarks.zoo import build_model, model_names

if TYPE_CHECKING:
    from torch import Tensor, nn

_RESULTS = Path(__file__).parent / "results"
# For all tools together, on one model.
_SECONDS = 300
# Ours, theirs, and how many times theirs may be as long as ours: what is aimed at.
_PAIRS = {"tflite": ("edgeconv", "litert-torch", 5.0), "onnx": ("edgeconv", "torch.onnx", 1.0)}

Seconds: TypeAlias = "dict[str, float]"
Row: TypeAlias = "dict[str, Seconds | str]"


def main() -> None:
    """Measure one model, if that is asked for, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("prefixes", nargs="*", default=[""])
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--one", help="measure this model here, and print its row")
    arguments = parser.parse_args()
    zoo = arguments.zoo.resolve()
    if arguments.one:
        for row in _measure(zoo, arguments.one):
            print(json.dumps(row), flush=True)
        return
    path = _RESULTS / "conversion.json"
    rows = {} if arguments.anew or not path.exists() else json.loads(path.read_text())
    for name in model_names(zoo):
        if name.startswith(tuple(arguments.prefixes)) and name not in rows:
            rows[name] = _measure_apart(zoo, name)
            path.write_text(json.dumps(rows, indent=1) + "\n")
            (_RESULTS / "conversion.md").write_text(_table(rows))
            print(f"{name:40} {rows[name]}", flush=True)
    print(_table(rows))


def _measure_apart(zoo: Path, name: str) -> Row:
    command = [sys.executable, "-m", "benchmarks.conversion", str(zoo), "--one", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, errors="replace"
        )
    except subprocess.TimeoutExpired as late:
        return _last_row(late.stdout) | {"error": f"not within {_SECONDS} s"}
    if done.returncode:
        return _last_row(done.stdout) | {"error": describe_failure(done.returncode, done.stderr)}
    return _last_row(done.stdout)


def _last_row(printed: str | bytes | None) -> Row:
    """What was measured until a process ended; tools print to the same stream."""
    text = printed.decode() if isinstance(printed, bytes) else printed or ""
    lines = [line for line in text.splitlines() if line.startswith('{"edgeconv')]
    row: Row = json.loads(lines[-1]) if lines else {}
    return row


def _measure(zoo: Path, name: str) -> Iterator[Row]:
    """Each tool once, after a small model that has it import what it imports on first use; a row after each tool."""
    import torch

    row: Row = {}
    for tool, convert in _TOOLS.items():
        with tempfile.TemporaryDirectory() as folder:
            small = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
            convert(small, (torch.randn(1, 3, 8, 8),), Path(folder) / "small")
            module, inputs = build_model(zoo, name)
            row[tool] = _time(convert, module, inputs, Path(folder) / "model")
        yield row


def _time(
    convert: Callable[[nn.Module, tuple[Tensor, ...], Path], None],
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
) -> Seconds | str:
    started, worked = time.perf_counter(), _processor_seconds()
    try:
        convert(module, inputs, path)
    except Exception as error:  # noqa: BLE001 - other people's tools fail in all ways: that is what is measured
        return f"{type(error).__name__}: {without_folders(str(error).strip())[:200]}"
    return {
        "wall": round(time.perf_counter() - started, 2),
        "processor": round(_processor_seconds() - worked, 2),
    }


def _processor_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _edgeconv(format_id: str) -> Callable[[nn.Module, tuple[Tensor, ...], Path], None]:
    def convert(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
        import edgeconv as ec

        ec.convert(ec.capture(module, inputs), to=format_id, out=path, use_cache=False)

    return convert


def _litert_torch(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    import litert_torch

    litert_torch.convert(module, inputs).export(str(path))


def _torch_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    import torch

    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx gave nothing")
    program.save(str(path))


# The one that takes longest comes last: what a row's time runs out for is not measured.
_TOOLS: Mapping[str, Callable[[nn.Module, tuple[Tensor, ...], Path], None]] = {
    "edgeconv tflite": _edgeconv("tflite"),
    "edgeconv onnx": _edgeconv("onnx"),
    "torch.onnx onnx": _torch_onnx,
    "litert-torch tflite": _litert_torch,
}


def _table(rows: Mapping[str, Row]) -> str:
    lines = [
        "Seconds on the wall (of processor time) from the `nn.Module`, frameworks imported; edgeconv's with verification.",
        "",
        f"| model | {' | '.join(_TOOLS)} |",
        f"| --- | {' | '.join('---:' for _ in _TOOLS)} |",
        *(f"| {name} | {' | '.join(_cell(row, tool) for tool in _TOOLS)} |" for name, row in rows.items()),
        "",
        *(_summary(format_id, rows) for format_id in _PAIRS),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cell(row: Row, tool: str) -> str:
    seconds = row.get(tool, row.get("error", ""))
    if isinstance(seconds, dict):
        return f"{seconds['wall']:.1f} ({seconds['processor']:.1f})"
    return seconds if seconds.startswith("not within") else "failed"


def _summary(format_id: str, rows: Mapping[str, Row]) -> str:
    ours, theirs, aim = _PAIRS[format_id]
    parts = []
    for kind in ("wall", "processor"):
        pairs = [
            (mine[kind], other[kind])
            for row in rows.values()
            if isinstance(mine := row.get(f"{ours} {format_id}"), dict)
            and isinstance(other := row.get(f"{theirs} {format_id}"), dict)
        ]
        if pairs:
            medians = [statistics.median(values) for values in zip(*pairs, strict=True)]
            ratios = [other / mine for mine, other in pairs]
            parts.append(
                f"{kind}: medians {medians[0]:.2f} and {medians[1]:.2f} s, {medians[1] / medians[0]:.2f} times as long;"
                f" on one model {statistics.median(ratios):.2f} times in the median, at least {min(ratios):.2f}"
            )
    return f"{format_id}, {ours} and {theirs}, {aim:g} times aimed at: {'; '.join(parts)}.\n"


if __name__ == "__main__":
    main()
