"""Quantizers are found as converters are: ours first, only what is allowed, and a broken one stops nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import QuantizerSpec
from edgeconv.plugin.quantizers import QUANTIZERS, QuantizerRegistry, missing_modules_of

STRANGER = """
from edgeconv.plugin import QuantizerSpec
def spec(quantizer_id, **changes):
    fields = dict(version="1", format="onnx", summary="one", entry="m:f", recipes=("int8",))
    return QuantizerSpec(id=quantizer_id, **{**fields, **changes})
ONE = spec("one")
MORE = (spec("two", recipes=("fp16",), requires=("no_such_package",)), spec("three", format="tflite"))
SAME = spec("one")
FOREIGN = spec("four", format="mp3")
NOTHING = object()
"""


@pytest.fixture(autouse=True)
def _stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of somebody else, importable."""
    (tmp_path / "strange_quantizers.py").write_text(STRANGER)
    (tmp_path / "strange_broken.py").write_text("raise RuntimeError('boom')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("strange_quantizers", "strange_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def points(*values: str) -> list[EntryPoint]:
    return [
        EntryPoint(name=value.partition(":")[2].lower(), value=value, group=QUANTIZERS)
        for value in (f"strange_{value}" for value in values)
    ]


def registry(*values: str, allowed: frozenset[str] | None = None) -> QuantizerRegistry:
    return QuantizerRegistry(plugins=points(*values), allowed=allowed)


def ids(found: QuantizerRegistry) -> list[str]:
    return [spec.id for spec in found.quantizers]


def test_ours_are_found() -> None:
    found = QuantizerRegistry()
    assert ids(found)[:2] == ["ai-edge-quantizer", "onnxruntime-quantization"]
    assert found.problems == ()
    assert found.distribution("ai-edge-quantizer") == "edgeconv"


def test_nothing_is_imported_before_somebody_asks() -> None:
    found = registry("quantizers:ONE", "quantizers:MORE")
    assert "strange_quantizers" not in sys.modules
    assert sorted(ids(found)) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("broken:SPEC", "RuntimeError: boom"),
        ("nowhere:SPEC", "ModuleNotFoundError"),
        ("quantizers:MISSING", "AttributeError"),
        ("quantizers:NOTHING", "not QuantizerSpec"),
        ("quantizers:FOREIGN", "no format 'mp3'"),
    ],
)
def test_a_broken_plugin_is_a_problem_and_no_more(value: str, reason: str) -> None:
    found = registry(value, "quantizers:ONE")
    assert ids(found) == ["one"]
    (problem,) = found.problems
    assert reason in problem.reason


def test_the_second_of_two_alike_is_refused_naming_both() -> None:
    found = registry("quantizers:ONE", "quantizers:SAME")
    (problem,) = found.problems
    assert "quantizer 'one' exists twice" in problem.reason
    assert "'same'" in problem.reason
    assert ids(found) == ["one"]


def test_only_plugins_on_the_list_are_loaded() -> None:
    values = ("broken:SPEC", "quantizers:ONE", "quantizers:MORE")
    assert ids(registry(*values, allowed=frozenset({"one"}))) == ["one"]
    assert registry(*values, allowed=frozenset({"one"})).problems == ()
    assert ids(registry(*values, allowed=frozenset())) == []


def test_the_quantizer_of_a_format_that_knows_the_recipe() -> None:
    found = registry("quantizers:ONE", "quantizers:MORE")
    assert found.find("onnx", "int8").id == "one"
    assert found.find("onnx", "fp16").id == "two"
    assert found.find("onnx", None).id == "one"  # the other cannot be used here
    assert found.find("tflite", None).id == "three"
    with pytest.raises(UsageError, match="no recipe 'int16x8' for 'onnx'") as caught:
        found.find("onnx", "int16x8")
    assert "int8, fp16" in caught.value.hint or "fp16, int8" in caught.value.hint


def test_a_format_without_a_quantizer_names_those_that_have_one() -> None:
    found = registry("broken:SPEC", "quantizers:ONE")
    with pytest.raises(UsageError, match="'savedmodel' artifacts cannot be quantized") as caught:
        found.find("savedmodel", "int8")
    assert "onnx" in caught.value.hint
    assert any("boom" in line for line in caught.value.details)


def test_missing_modules_are_told_without_importing() -> None:
    spec: QuantizerSpec = QuantizerRegistry().quantizers[0]
    spec = replace(spec, requires=("json", "no_such", "torch"))
    before = set(sys.modules)
    assert "no_such" in missing_modules_of(spec)
    assert "torch" not in set(sys.modules) - before
