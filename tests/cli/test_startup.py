"""What a command imports decides how fast it answers: none of these needs a framework, or NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "numpy",
    "torch",
    "tensorflow",
    "onnx",
    "onnxruntime",
    "ai_edge_litert",
    "litert_torch",
}
# Typer itself needs pydantic for some options; the models of the report need not be built for that.
SLOW = HEAVY | {"rich", "jinja2", "networkx", "psutil", "asyncio", "edgeconv.report.model"}

CODE = """
import json, sys
from edgeconv.cli.main import run
status = run(sys.argv[1:])
sys.stdout.flush()
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


def _modules_after(arguments: list[str], cache: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        env={"EDGECONV_CACHE_DIR": str(cache), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["convert", "--help"],
        ["quantize", "--help"],
        ["validate", "--help"],
        ["cache", "--help"],
    ],
)
def test_help_imports_nothing_that_is_slow(arguments: list[str], tmp_path: Path) -> None:
    assert _modules_after(arguments, tmp_path) & SLOW == set()


def test_help_of_one_command_does_not_import_the_others(tmp_path: Path) -> None:
    code = "import sys; from edgeconv.cli.main import run; run(['plugins', '--help']);"
    code += "print([m for m in sys.modules if m.startswith('edgeconv.cli.')], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "edgeconv.cli.plugins" in done.stderr
    assert "edgeconv.cli.convert" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["plugins"],
        ["doctor"],
        ["cache", "info"],
        ["cache", "list"],
        ["report", "schema"],
        ["report", "schema", "quantization"],
    ],
    ids=" ".join,
)
def test_light_commands_import_no_framework(arguments: list[str], tmp_path: Path) -> None:
    assert _modules_after(arguments, tmp_path) & HEAVY == set()


def test_planning_imports_no_framework_and_runs_nothing(tmp_path: Path) -> None:
    model = tmp_path / "net.py"
    model.write_text("raise SystemExit('the model was run')\n")
    arguments = ["plan", f"{model}:build", "--to", "torch-export", "--explain"]
    assert _modules_after(arguments, tmp_path) & HEAVY == set()
