"""What `edgeconv plugins` and `edgeconv doctor` tell of quantizers, broken ones among them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pytest

from tests.cli.conftest import CommandLine

SPEC = """
from edgeconv.plugin import QuantizerSpec
SPEC = QuantizerSpec(id="strange", version="1", format="onnx", summary="s", entry="m:f", recipes=("int8",), requires=("no_such",))
"""


@pytest.fixture
def _strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with two entry points, one of them broken, as pip leaves one."""
    facts = tmp_path / "site" / "strange_plugin-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-plugin\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[edgeconv.quantizers]\ngood = strange_good:SPEC\nbad = strange_bad:SPEC\n"
    )
    (tmp_path / "site" / "strange_good.py").write_text(SPEC)
    (tmp_path / "site" / "strange_bad.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in ("strange_good", "strange_bad"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("_strangers")
@pytest.mark.parametrize("command", ["plugins", "doctor"])
def test_quantizers_are_listed_with_why_they_cannot_be_used(
    edgeconv: CommandLine, command: str
) -> None:
    data = edgeconv(command, "--json").data
    found = {cast("str", q["id"]): q for q in cast("list[dict[str, object]]", data["quantizers"])}
    assert {"ai-edge-quantizer", "onnxruntime-quantization", "strange"} <= found.keys()
    assert not found["strange"]["is_usable"]
    assert "'no_such' not installed" in cast("str", found["strange"]["reason"])
    (problem,) = cast("list[dict[str, str]]", data["problems"])
    assert problem["plugin"] == "'bad' of 'strange-plugin'"
    assert "ZeroDivisionError" in problem["reason"]
    said = edgeconv(command)
    assert "strange" in said.out
    assert "'no_such' not installed" in said.out


@pytest.mark.usefixtures("_strangers")
def test_plugins_that_are_not_allowed_are_not_loaded(
    edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_PLUGINS", "nothing-of-theirs")
    data = edgeconv("plugins", "--json").data
    ids = [one["id"] for one in cast("list[dict[str, object]]", data["quantizers"])]
    assert ids == ["ai-edge-quantizer", "onnxruntime-quantization"]
    assert data["problems"] == []
