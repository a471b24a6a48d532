"""Real models: a first route that fails, crashes, hangs, fills memory or computes something else costs the user nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")


import edgeconv as ec
from edgeconv import api
from edgeconv.conversion import Conversion, ConversionOptions, make_request, run_request
from edgeconv.errors import ConversionError
from edgeconv.plugin import ConverterSpec
from edgeconv.plugin.registry import Registry
from edgeconv.report.document import REPORT_NAME
from edgeconv.settings import load_settings
from tests.converters.model import capture_classifier

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("replanning"),
]

_HOSTILE = "edgeconv.testing.hostile"


@pytest.fixture(scope="module")
def model() -> ec.Model:
    return capture_classifier()


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))
    scratch = load_settings().scratch_dir
    yield
    assert scratch.is_relative_to(tmp_path)
    assert list(scratch.glob("*")) == []


def _hostile(*ids: str, name: str, lane: str | None = "hostile") -> tuple[ConverterSpec, ...]:
    """All real converters, some of which behave as badly as real tools do, in a process of their own."""
    return tuple(
        replace(spec, entry=f"{_HOSTILE}:{name}", lane=lane or spec.lane, takes_live=False)
        if spec.id in ids
        else spec
        for spec in Registry().converters
    )


def _convert(
    model: ec.Model, out: Path, *goals: str, specs: tuple[ConverterSpec, ...], **changes: object
) -> Conversion:
    request = replace(api._request(model, None, out), out=out, goals=goals, **changes)  # type: ignore[arg-type]
    return run_request(request, api.Silent(), registry=Registry(specs), lanes=api._lanes(model))


def _attempts(out: Path, format_id: str) -> list[tuple[str, str, str]]:
    """Last converter, result and reason of every attempt, as the report has them."""
    report = json.loads((out / REPORT_NAME).read_text())
    (goal,) = (item for item in report["goals"] if item["format"] == format_id)
    return [(a["route"][-1], a["result"], a["reason"]) for a in goal["attempts"]]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crash", "crashed"),
        ("hang", "15"),
        ("fill_memory", "memory"),
        ("raise_error", "the seventh tensor is cursed"),
        ("miss_tool", "no_such_tool"),
    ],
)
def test_the_next_route_delivers(model: ec.Model, tmp_path: Path, name: str, reason: str) -> None:
    out = tmp_path / "out"
    done = _convert(
        model,
        out,
        "onnx",
        specs=_hostile("edge-onnx", name=name),
        timeout_seconds=15.0,
        memory_limit_bytes=2 << 30,
    )
    assert done.outcome.exit_status == 0
    (first, failed, why), (second, delivered, nothing) = _attempts(out, "onnx")
    assert (first, failed) == ("edge-onnx", "failed")
    assert reason in why
    assert (second, delivered, nothing) == ("torch-onnx", "delivered", "")
    assert {path.name for path in out.iterdir()} == {"net.onnx", "report.html", "report.json"}
    verdict = ec.validate(out / "net.onnx", reference=model)
    assert verdict.passed


def test_wrong_numbers_are_kept_aside_and_the_next_route_delivers(
    model: ec.Model, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (real,) = (spec for spec in Registry().converters if spec.id == "edge-onnx")
    options = {"edge-onnx": {"entry": real.entry}}
    specs = _hostile("edge-onnx", name="damage_onnx", lane=None)
    done = _convert(model, out, "onnx", specs=specs, converter_options=options)
    assert done.outcome.exit_status == 0
    (first, rejected, why), (second, delivered, _) = _attempts(out, "onnx")
    assert (first, rejected) == ("edge-onnx", "rejected")
    assert "'output' is off by" in why
    assert (second, delivered) == ("torch-onnx", "delivered")
    assert ec.validate(out / "net.onnx", reference=model).passed
    assert not ec.validate(out / "rejected" / "net.onnx", reference=model).passed


_FILE = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3), (torch.randn(2, 4),)
"""


def test_a_module_that_died_with_its_process_is_captured_again_for_the_next_route(
    tmp_path: Path,
) -> None:
    path, out = tmp_path / "net.py", tmp_path / "out"
    path.write_text(_FILE)
    options = ConversionOptions(model=f"{path}:build", out=out, goals=("onnx",))
    specs = _hostile("edge-onnx", "torch-onnx", name="crash", lane=None)
    done = run_request(make_request(options), api.Silent(), registry=Registry(specs))
    assert done.outcome.exit_status == 0
    assert "capture-again" in [record.step.id for record in done.outcome.steps]
    assert [item[:2] for item in _attempts(out, "onnx")] == [
        ("edge-onnx", "failed"),
        ("torch-onnx", "failed"),
        ("torch-onnx-torchscript", "delivered"),
    ]


def test_the_other_way_to_torchscript_steps_in(model: ec.Model, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # The module is in this process, which a crash would end.
    done = _convert(model, out, "torchscript", specs=_hostile("torchscript", name="raise_error"))
    assert done.outcome.exit_status == 0
    (first, second) = _attempts(out, "torchscript")
    assert first[:2] == ("torchscript", "failed")
    assert "the seventh tensor is cursed" in first[2]
    assert second == ("torchscript-otherwise", "delivered", "")
    assert ec.validate(out / "net.torchscript.pt", reference=model).passed


def test_all_routes_to_tflite_step_in_one_after_the_other(model: ec.Model, tmp_path: Path) -> None:
    second = _convert(
        model, tmp_path / "second", "tflite", specs=_hostile("edge-tflite", name="crash")
    )
    assert second.outcome.exit_status == 0
    assert [item[:2] for item in _attempts(tmp_path / "second", "tflite")] == [
        ("edge-tflite", "failed"),
        ("litert-torch", "delivered"),
    ]
    third = _convert(
        model,
        tmp_path / "third",
        "tflite",
        specs=_hostile("edge-tflite", "litert-torch", name="crash"),
    )
    assert third.outcome.exit_status == 0
    assert [item[:2] for item in _attempts(tmp_path / "third", "tflite")] == [
        ("edge-tflite", "failed"),
        ("litert-torch", "failed"),
        ("tflite-converter", "delivered"),
    ]
    none = _convert(
        model,
        tmp_path / "none",
        "tflite",
        specs=_hostile("edge-tflite", "litert-torch", "tflite-converter", name="crash"),
    )
    assert none.outcome.exit_status == 5
    error = none.outcome.goals[0].error
    assert isinstance(error, ConversionError)
    assert len(error.details) == 3
    assert not (tmp_path / "none" / "net.tflite").exists()
