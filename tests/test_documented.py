"""Everything that documents show runs: examples of docstrings, and what README tells people to type."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from importlib import import_module
from pathlib import Path

import pytest

import edgeconv as ec
from tests.architecture.sources import ROOT, module_name, package_files

WITH_EXAMPLES = [module_name(p) for p in package_files() if ">>> " in p.read_text()]
# Their examples convert models.
HEAVY = {"edgeconv.api", "edgeconv.artifact"}
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))


def _run_examples(name: str) -> doctest.TestResults:
    return doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)


@pytest.mark.parametrize("name", sorted(set(WITH_EXAMPLES) - HEAVY))
def test_examples_of_docstrings_run(name: str) -> None:
    failed, tried = _run_examples(name)
    assert tried > 0
    assert failed == 0


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HEAVY))
def test_examples_that_convert_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of frameworks
        failed, tried = _run_examples(name)
    assert tried > 3
    assert failed == 0


def test_a_wrong_example_is_noticed() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(test, out=lambda _: None).failed == 1


def test_every_function_of_the_interface_has_an_example() -> None:
    functions = [getattr(ec, name) for name in ec.__all__ if name.islower()]
    assert functions
    assert [f.__name__ for f in functions if ">>> " not in (f.__doc__ or "")] == []
    assert ">>> " in (ec.Artifact.run.__doc__ or "")


def _blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found


def _environment(tmp_path: Path) -> dict[str, str]:
    bin_folder = Path(sys.executable).parent
    path = os.pathsep.join([str(bin_folder), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "EDGECONV_CACHE_DIR": str(tmp_path / "cache")}


def _run(folder: Path, *words: str) -> str:
    """Run Python in a folder with a cache of its own; what it prints."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _commands() -> list[str]:
    """Every command line of the shell blocks, comments and continuations resolved."""
    text = "\n".join(_blocks("sh")).replace("\\\n", " ")
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "sample_models").symlink_to(ROOT / "sample_models")
    ran = []
    for command in _commands():
        words = shlex.split(command)
        if words[0] != "edgeconv":
            continue
        _run(tmp_path, "-m", *words)
        ran.append(words[1])
    assert "convert" in ran
    assert {path.suffix for path in (tmp_path / "build").iterdir()} >= {".onnx", ".pt", ".tflite"}


def test_the_targets_of_make_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = [shlex.split(c)[1] for c in _commands() if c.startswith("make ")]
    assert set(named) == {"demo", "test"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_extras_that_the_readme_names_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        name
        for group in re.findall(r"(?:edgeconv|\.)\[([\w,-]+)\]", README)
        for name in group.split(",")
    }
    assert named
    assert named <= set(project["optional-dependencies"])


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for block in _blocks("python"):
        _run(tmp_path, "-W", "error::DeprecationWarning:edgeconv", "-c", block)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_the_page_of_the_python_interface_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "python-api.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 4
    said = _run(tmp_path, "-c", "\n".join(blocks))  # they follow one another
    assert "ldl_factor" in said
    functions = [name for name in ec.__all__ if name.islower()]
    assert [
        name for name in functions if f"ec.{name}" not in page and name != "EdgeconvError"
    ] == []


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_the_page_of_trained_integers_runs(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    page = (ROOT / "docs" / "qat.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    _run(tmp_path, "-c", "\n".join(blocks))
    assert {path.name for path in (tmp_path / "build").iterdir()} >= {"net.onnx", "net.tflite"}


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{p.name}" for p in DOCS)])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []
    assert links or page.parent != ROOT
