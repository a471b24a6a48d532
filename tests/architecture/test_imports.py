"""The host never imports what can conflict: checked in interpreters that refuse frameworks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT, module_name, package_files

FRAMEWORKS = (
    "ai_edge_litert",
    "fickling",
    "litert_torch",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "onnxscript",
    "tensorflow",
    "torch",
    "torchvision",
    "transformers",
)

IMPORT_ALL = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} is a framework")

refused, modules = set(sys.argv[1].split(",")), sys.argv[2].split(",")
sys.meta_path.insert(0, Refuse())
failed = []
for name in modules:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed.append(f"{name}: {error}")
print("\\n".join(failed))
"""

# Run in workers only, each with the framework it is for.
IN_WORKERS = ("edgeconv.diagnosis.cutting.", "edgeconv.lowering.", "edgeconv_converters.")
# The edge graph holds its constants as NumPy arrays, and what works on it is run in workers.
WITH_NUMPY = (
    "edgeconv.graph",
    "edgeconv.inspection",
    "edgeconv.lowering",
    "edgeconv.passes",
    # What the host needs of it, requests and recipes, comes with `edgeconv.quantizing`, which is not among these.
    "edgeconv.quantization.",
    "edgeconv.validation.cases",
    "edgeconv.validation.observe",
    "edgeconv.validation.samples",
)


def _is_in_worker(name: str) -> bool:
    is_package = (ROOT / "converters" / name.replace(".", "/") / "__init__.py").exists()
    return name.startswith(IN_WORKERS) and not is_package


ALL = [module_name(path) for path in package_files() if path.name != "__main__.py"]
LIGHT = [name for name in ALL if not _is_in_worker(name)]
LIGHTEST = [name for name in LIGHT if not name.startswith(WITH_NUMPY)]


def _failures(modules: list[str], refused: tuple[str, ...]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(refused), ",".join(modules)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in (".", "converters", "targets")),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_modules_of_the_host_import_no_framework() -> None:
    assert _failures(LIGHT, FRAMEWORKS) == []


def test_most_modules_of_the_host_do_not_import_numpy_either() -> None:
    assert _failures(LIGHTEST, (*FRAMEWORKS, "numpy")) == []


def test_the_refusal_is_noticed() -> None:
    assert _failures(["json", "numpy"], ("numpy",)) == ["numpy: numpy is a framework"]


def test_the_worker_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, runpy; runpy.run_path(sys.argv[1], run_name='worker');"
    code += "print([n for n in sys.modules if n.partition('.')[0] not in sys.stdlib_module_names])"
    path = ROOT / "edgeconv" / "execute" / "worker_main.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['__main__']"


def test_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
