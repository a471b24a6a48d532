"""Rules for how the code is written that no linter holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edgeconv.errors import EdgeconvError, error_classes
from tests.architecture.sources import ROOT, files_of_tests, package_files

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 50
# A file that may be longer, with its reason.
LONG_FILES: dict[str, str] = {}
# One parameter for each option of the command, with its help: the body is short.
LONG_FUNCTIONS = {"convert", "validate", "inspect", "quantize"}
SHIPPED = list(package_files())
BANNED_NAMES = {"utils", "helpers", "common", "manager", "misc"}


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_files_are_short() -> None:
    lengths = {_relative(p): len(p.read_text().splitlines()) for p in (*SHIPPED, *files_of_tests())}
    too_long = {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES}
    assert too_long.keys() == LONG_FILES.keys()


def test_functions_are_short() -> None:
    found = []
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES and node.name not in LONG_FUNCTIONS:
                    found.append(f"{_relative(path)}:{node.lineno} {node.name}: {lines} lines")
    assert found == []


def test_names_say_what_is_inside() -> None:
    assert [_relative(path) for path in SHIPPED if path.stem in BANNED_NAMES] == []


def test_every_module_says_why_it_exists() -> None:
    silent = [_relative(p) for p in SHIPPED if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_public_names_exist_and_are_listed_once() -> None:
    wrong = []
    for path in SHIPPED:
        tree = ast.parse(path.read_text())
        listed = _listed(tree)
        defined = _defined(tree)
        if len(set(listed)) != len(listed):
            wrong.append(f"{_relative(path)}: a name is listed twice")
        if "__getattr__" not in defined:
            wrong += [f"{_relative(path)}: {name}" for name in listed if name not in defined]
    assert wrong == []


def _listed(tree: ast.Module) -> list[str]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
            case _:
                pass
    return []


def _defined(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.add(asname or name)
            case _:
                pass
    return found


def test_only_settings_read_the_environment() -> None:
    pattern = re.compile(r"os\.environ|os\.getenv|environ\[")
    # A worker is given its environment by the host, and may look at what it was given.
    readers = {_relative(path) for path in SHIPPED if pattern.search(path.read_text())}
    assert readers == {"edgeconv/settings.py"}


def test_only_the_command_line_prints() -> None:
    printing = []
    for path in SHIPPED:
        if "edgeconv/cli/" in path.as_posix() or "edgeconv/testing/" in path.as_posix():
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="print"), lineno=line):
                    printing.append(f"{_relative(path)}:{line}")
                case _:
                    pass
    assert printing == []


@pytest.mark.parametrize("cls", list(error_classes()), ids=lambda cls: cls.__name__)
def test_every_error_is_documented_and_tested(cls: type[EdgeconvError]) -> None:
    documented = (ROOT / "docs" / "errors.md").read_text()
    assert f"## {cls.code}\n" in documented
    assert f"Exit status {cls.exit_status}." in documented.partition(f"## {cls.code}\n")[2][:400]
    here = Path(__file__).parent
    tests = [path for path in files_of_tests() if here not in path.parents]
    assert any(re.search(rf"\b{cls.__name__}\b", path.read_text()) for path in tests)


def test_no_documented_error_has_gone() -> None:
    documented = re.findall(r"^## (\S+)$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(cls.code for cls in error_classes())


def test_the_reference_of_the_command_line_is_that_of_the_commands() -> None:
    from edgeconv.cli.reference import make_reference

    assert (ROOT / "docs" / "cli.md").read_text() == make_reference(), (
        "run: python -m edgeconv.cli.reference > docs/cli.md"
    )
