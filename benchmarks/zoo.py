"""The public model zoo through `edgeconv convert`, one process a model: what is delivered, how fast, how exact.

`python -m benchmarks.zoo ZOO [PREFIX...]`: ZOO is the folder that holds `models.py`; only models whose names begin
with a prefix are converted, all without one. Writes `benchmarks/results/zoo.json` and `zoo.md` after every model, and
goes on where an earlier run was stopped (`--anew` starts again).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

_RESULTS = Path(__file__).parent / "results"
_FORMATS = ("onnx", "torchscript", "savedmodel", "tflite")
_SECONDS = 600
_FACTORY = """
import sys
sys.path.insert(0, {zoo!r})
import models

def create():
    return models.build({name!r})
"""

Row: TypeAlias = "dict[str, object]"


def main() -> None:
    """Convert and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("prefixes", nargs="*", default=[""])
    parser.add_argument("--anew", action="store_true")
    arguments = parser.parse_args()
    zoo = arguments.zoo.resolve()
    rows = {} if arguments.anew else _read_rows()
    for name in _names(zoo):
        if name.startswith(tuple(arguments.prefixes)) and name not in rows:
            rows[name] = _convert(zoo, name)
            _write(rows)
            print(_line(name, rows[name]), flush=True)
    done = [row for name, row in rows.items() if name.startswith(tuple(arguments.prefixes))]
    whole = sum(row["delivered"] == list(_FORMATS) for row in done)
    print(f"{whole} of {len(done)} models in all formats")


def _names(zoo: Path) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(zoo)!r}); import models; print(*models.names())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def _convert(zoo: Path, name: str) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        factory = folder / "factory.py"
        factory.write_text(_FACTORY.format(zoo=str(zoo), name=name))
        command = [
            sys.executable,
            "-m",
            "edgeconv",
            "convert",
            f"{factory}:create",
            "--name",
            "model",
        ]
        command += ["--to", ",".join(_FORMATS), "--output", str(folder / "out"), "--no-cache"]
        started = time.perf_counter()
        try:
            done = subprocess.run(
                [*command, "--quiet"], capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"delivered": [], "error": f"more than {_SECONDS} s"}
        seconds = time.perf_counter() - started
        report = folder / "out" / "report.json"
        facts = json.loads(report.read_text()) if report.exists() else {}
        return _describe(facts, seconds, done.stderr)


def _describe(report: Mapping[str, object], seconds: float, error: str) -> Row:
    goals = report.get("goals")
    found = goals if isinstance(goals, list) else []
    delivered = [goal["format"] for goal in found if goal.get("error") is None]
    return {
        "delivered": delivered,
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(int(str(report.get("peak_memory_bytes", 0))) / 1e6),
        "routes": {g["format"]: _route(g) for g in found},
        "error": error.strip()[:600] if len(delivered) < len(_FORMATS) else "",
    }


def _route(goal: Mapping[str, object]) -> str:
    attempts = goal.get("attempts")
    last = attempts[-1] if isinstance(attempts, list) and attempts else {}
    return " → ".join(last.get("route", []))


def _read_rows() -> dict[str, Row]:
    path = _RESULTS / "zoo.json"
    found: dict[str, Row] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _write(rows: Mapping[str, Row]) -> None:
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / "zoo.json").write_text(json.dumps(rows, indent=1) + "\n")
    header = ["| model | formats | seconds | peak MB |", "| --- | --- | ---: | ---: |"]
    lines = [
        f"| {name} | {_formats(row)} | {row.get('seconds', '')} | {row.get('peak_memory_mb', '')} |"
        for name, row in rows.items()
    ]
    (_RESULTS / "zoo.md").write_text("\n".join([*header, *lines]) + "\n")


def _formats(row: Row) -> str:
    delivered = row["delivered"]
    names = delivered if isinstance(delivered, Iterable) else ()
    return "all" if list(names) == list(_FORMATS) else ", ".join(map(str, names)) or "none"


def _line(name: str, row: Row) -> str:
    return f"{name:40} {_formats(row):40} {row.get('seconds', '')!s:>7} s  {row['error']}"


if __name__ == "__main__":
    main()
