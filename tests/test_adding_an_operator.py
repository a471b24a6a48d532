"""The page that tells how an operator is added: what it shows is what is there, and its package works once installed."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.cli.main import run
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "adding-an-operator.md").read_text()
_FILE = re.compile(r"\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)```", re.DOTALL)


def test_the_lowering_and_the_case_that_are_shown_are_those_of_the_code() -> None:
    lowering, case = re.findall(
        r"```python\n(.*?)```", PAGE.partition("## An operator of your own")[0], re.DOTALL
    )
    families = ROOT / "edgeconv" / "lowering" / "families"
    assert lowering in (families / "distance.py").read_text()
    # Formatters break the lines of the page otherwise than those of the table.
    (addition,) = ast.parse(case).body
    assert isinstance(addition, ast.AugAssign)
    assert isinstance(addition.value, ast.List)
    shown = ast.unparse(addition.value.elts[0])
    files = (ROOT / "tests" / "lowering").glob("*cases.py")
    assert any(shown in ast.unparse(ast.parse(path.read_text())) for path in files)


def test_what_the_page_names_exists() -> None:
    for path in re.findall(r"`((?:edgeconv|tests|benchmarks)/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", PAGE):
        assert (ROOT / module.replace(".", "/")).exists(), module


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page."""
    folder = tmp_path_factory.mktemp("acme")
    for name, text in _FILE.findall(PAGE):
        # The model lies elsewhere: beside the package's sources it would import these, and not what is installed.
        path = folder / ("user" if name == "model.py" else ".") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def _install(package: Path, site: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    pip = [str(uv), "pip"] if uv.exists() else [sys.executable, "-m", "pip"]
    python = ["--python", sys.executable] if uv.exists() else []
    words = [*pip, "install", *python, "--no-deps", "--no-build-isolation", "--target", str(site)]
    done = subprocess.run([*words, str(package)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def site(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, installed where this interpreter looks."""
    folder = tmp_path / "site"
    _install(package, folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def _convert(package: Path, out: Path, *more: str) -> tuple[int, dict[str, dict[str, object]]]:
    words = [
        "convert",
        f"{package / 'user' / 'model.py'}:clipped",
        "--to",
        "onnx,savedmodel,tflite",
    ]
    status = run([*words, "-o", str(out), "-q", "--diagnose", "0", *more])
    report = json.loads((out / "report.json").read_text())
    return status, {goal["format"]: goal for goal in report["goals"]}


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("adding")
def test_the_package_of_the_page_converts_its_operator(
    package: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    assert run(["plugins"]) == 0
    assert "'acme' of 'acme-edge' 1.0: edgeconv.lowerings" in capsys.readouterr().out
    status, goals = _convert(package, tmp_path / "out")
    assert status == 0, capsys.readouterr().err
    assert all(goal["is_delivered"] for goal in goals.values())
    routes = {name: goal["attempts"][0]["route"] for name, goal in goals.items()}  # type: ignore[index]
    assert routes["onnx"] == ["torch-export", "edge-onnx"]
    assert routes["tflite"] == ["torch-export", "edge-lowering", "edge-tflite"]


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("adding")
def test_a_wrong_lowering_is_rejected_although_a_right_one_is_in_the_cache(
    package: Path, site: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    avoid = ("--avoid", "litert-torch")
    assert _convert(package, tmp_path / "out", *avoid)[0] == 0
    file = site / "acme_edge" / "lowerings.py"
    file.write_text(file.read_text().replace("b.scalar(1, x.dtype)", "b.scalar(1.5, x.dtype)"))
    status, goals = _convert(package, tmp_path / "wrong", *avoid)
    assert status == 6
    assert [name for name, goal in goals.items() if not goal["is_delivered"]] == [
        "savedmodel",
        "tflite",
    ]
    assert "is off by" in str(goals["tflite"]["attempts"])
    for name in ("savedmodel", "tflite"):
        assert "'acme.softclip.default' (plug-in 'acme' of 'acme-edge')" in str(
            goals[name]["attempts"]
        ), name
    assert "plug-in 'acme' of 'acme-edge'" in str(goals["onnx"]["attempts"])


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("adding")
def test_a_package_that_is_not_allowed_or_broken_is_left_out(
    package: Path,
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch")
    avoid = ("--avoid", "litert-torch", "--to", "tflite")
    monkeypatch.setenv("EDGECONV_PLUGINS", "")
    status, goals = _convert(package, tmp_path / "out", *avoid)
    assert status == 5
    assert "acme.softclip.default x1" in str(goals["tflite"]["error"])
    monkeypatch.delenv("EDGECONV_PLUGINS")
    (site / "acme_edge" / "lowerings.py").write_text("raise RuntimeError('not today')\n")
    plain = tmp_path / "plain.py"
    plain.write_text("import torch\ndef net(): return torch.nn.Linear(4, 2), (torch.ones(1, 4),)\n")
    capsys.readouterr()
    words = ["convert", f"{plain}:net", "--to", "tflite", "-o", str(tmp_path / "plain")]
    assert run(words) == 0
    assert (
        "plug-in 'acme' of 'acme-edge' is left out: RuntimeError: not today"
        in capsys.readouterr().err
    )


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("adding")
def test_a_program_with_the_operator_is_read_where_the_package_is(
    package: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    words = ["convert", f"{package / 'user' / 'model.py'}:clipped", "--to", "torch-export"]
    assert run([*words, "-o", str(tmp_path / "out"), "-q"]) == 0
    program = tmp_path / "out" / "clipped.pt2"
    assert run(["convert", str(program), "--to", "tflite", "-o", str(tmp_path / "lite"), "-q"]) == 0
    shutil.rmtree(site)
    capsys.readouterr()
    assert run(["convert", str(program), "--to", "tflite", "-o", str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert "'clipped.pt2' calls operators that are not PyTorch's" in told
    assert "acme.softclip" in told
