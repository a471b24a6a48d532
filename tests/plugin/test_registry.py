from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgeconv.errors import UsageError
from edgeconv.plugin.registry import GROUP, Registry, missing_modules
from edgeconv.testing.plain import PLAIN_SPECS

GOOD = """
from edgeconv.plugin import ConverterSpec, Cost
def spec(converter_id, **changes):
    fields = dict(version="1", kind="convert", source="torch", target="onnx", summary="", entry="m:f", lane="l")
    cost = Cost(fidelity=0, install_bytes=0, seconds=1.0)
    return ConverterSpec(id=converter_id, cost=cost, **{**fields, **changes})
SPEC = spec("one")
SPECS = (spec("two"), spec("three"))
SAME = spec("one")
FOREIGN = spec("four", target="mp3")
NOTHING = object()
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of somebody else, importable."""
    (tmp_path / "stranger_plugin.py").write_text(GOOD)
    (tmp_path / "stranger_broken.py").write_text("raise RuntimeError('boom')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("stranger_plugin", "stranger_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "stranger_plugin"


def points(*values: str) -> list[EntryPoint]:
    return [EntryPoint(name=v.partition(":")[2].lower(), value=v, group=GROUP) for v in values]


def ids(registry: Registry) -> list[str]:
    return [spec.id for spec in registry.converters]


def test_single_specs_and_tuples_are_found(stranger: str) -> None:
    registry = Registry(plugins=points(f"{stranger}:SPEC", f"{stranger}:SPECS"))
    assert ids(registry) == ["one", "three", "two"]
    assert registry.problems == ()
    assert registry.find("two").target == "onnx"
    assert registry.origin("two") == "'specs'"


def test_nothing_is_imported_before_somebody_asks(stranger: str) -> None:
    registry = Registry(plugins=points(f"{stranger}:SPEC"))
    assert stranger not in sys.modules
    assert ids(registry) == ["one"]
    assert stranger in sys.modules


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("stranger_broken:SPEC", "RuntimeError: boom"),
        ("no_such_package:SPEC", "ModuleNotFoundError"),
        ("stranger_plugin:MISSING", "AttributeError"),
        ("stranger_plugin:NOTHING", "not ConverterSpec"),
        ("stranger_plugin:FOREIGN", "no format 'mp3'"),
    ],
)
def test_a_broken_plugin_is_a_problem_and_no_more(stranger: str, value: str, reason: str) -> None:
    registry = Registry(plugins=points(value, f"{stranger}:SPECS"))
    assert ids(registry) == ["three", "two"]
    (problem,) = registry.problems
    assert reason in problem.reason
    assert value.partition(":")[2].lower() in problem.plugin


def test_the_second_of_two_alike_is_refused_naming_both(stranger: str) -> None:
    registry = Registry(plugins=points(f"{stranger}:SPEC", f"{stranger}:SAME"))
    (problem,) = registry.problems
    assert "'one' exists twice" in problem.reason
    assert "'same'" in problem.reason
    assert "'spec'" in problem.reason
    with pytest.raises(UsageError, match="exists twice"):
        Registry((*PLAIN_SPECS, PLAIN_SPECS[0]))


def test_only_plugins_on_the_list_are_loaded(stranger: str) -> None:
    found = points(f"{stranger}:SPEC", f"{stranger}:SPECS")
    assert ids(Registry(plugins=found, allowed=frozenset({"spec"}))) == ["one"]
    assert ids(Registry(plugins=found, allowed=frozenset())) == []


def test_an_unknown_id_lists_what_there_is(stranger: str) -> None:
    registry = Registry(plugins=points("stranger_broken:SPEC", f"{stranger}:SPEC"))
    with pytest.raises(UsageError) as caught:
        registry.find("two")
    assert "one" in caught.value.hint
    assert any("boom" in line for line in caught.value.details)


def test_given_converters_need_no_entry_points() -> None:
    assert len(Registry(PLAIN_SPECS).converters) == len(PLAIN_SPECS)


def test_missing_modules_are_told_without_importing() -> None:
    spec = replace(PLAIN_SPECS[0], requires=("json", "no_such", "no_such.inside", "torch"))
    before = set(sys.modules)
    assert {"no_such", "no_such.inside"} <= set(missing_modules(spec))
    assert "json" not in missing_modules(spec)
    assert "torch" not in set(sys.modules) - before
