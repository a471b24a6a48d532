"""From options to a written report, on converters of plain text: real worker processes, no framework."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edgeconv.cli.summary import summarize
from edgeconv.conversion import (
    Conversion,
    ConversionOptions,
    default_name,
    make_request,
    run_request,
    source_format,
)
from edgeconv.errors import ConversionError, InvalidInputError, OutputError, UsageError
from edgeconv.execute.records import Step, StepRecord
from edgeconv.execute.request import ConversionRequest
from edgeconv.plugin.registry import Registry
from edgeconv.report.document import SCHEMA_PATH, read_report
from edgeconv.report.page import render_page
from edgeconv.settings import load_settings
from edgeconv.source import parse_model
from edgeconv.testing.plain import PLAIN_SPECS, PLAIN_VERIFIERS
from edgeconv.validation.verdict import Verdict


class Deaf:
    def step_started(self, step: Step) -> None: ...

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None: ...


@pytest.fixture
def request_(tmp_path: Path) -> ConversionRequest:
    model = tmp_path / "model.txt"
    model.write_text("hello\nweights")
    return ConversionRequest(
        name="m",
        source="model.txt",
        goals=("onnx", "tflite"),
        out=tmp_path / "out",
        capture_options={"file": str(model)},
    )


def _run(request: ConversionRequest, cache: Path) -> Conversion:
    return run_request(
        request,
        Deaf(),
        settings=load_settings({"EDGECONV_CACHE_DIR": str(cache), "PATH": "/usr/bin"}),
        registry=Registry(PLAIN_SPECS, plugins=()),
        verifiers=PLAIN_VERIFIERS,
        command=("edgeconv", "convert"),
    )


def test_the_report_lies_beside_the_artifacts(request_: ConversionRequest, tmp_path: Path) -> None:
    conversion = _run(request_, tmp_path / "cache")
    assert conversion.outcome.exit_status == 0
    assert {path.name for path in request_.out.iterdir()} == {
        "m.onnx",
        "m.tflite",
        "report.html",
        "report.json",
    }
    document = json.loads((request_.out / "report.json").read_text())
    Draft202012Validator(json.loads(SCHEMA_PATH.read_text())).validate(document)
    assert read_report(request_.out) == conversion.report
    for artifact in conversion.report.artifacts:
        assert (request_.out / artifact.path).stat().st_size == artifact.bytes
    assert len(conversion.report.goals[1].plan) == 2


def test_a_second_run_comes_from_the_cache(request_: ConversionRequest, tmp_path: Path) -> None:
    first = _run(request_, tmp_path / "cache").report
    second = _run(request_, tmp_path / "cache").report
    assert not any(step.is_cache_hit for step in first.steps)
    assert all(step.is_cache_hit for step in second.steps)
    assert [a.sha256 for a in first.artifacts] == [a.sha256 for a in second.artifacts]


def test_a_failure_is_reported_too(request_: ConversionRequest, tmp_path: Path) -> None:
    damaged = {key: {"damage": True} for key in ("plain-tflite", "plain-tflite-direct")}
    conversion = _run(replace(request_, converter_options=damaged), tmp_path / "cache")
    report = read_report(request_.out)
    assert report.exit_status == conversion.outcome.exit_status == 6
    assert [goal.is_delivered for goal in report.goals] == [True, False]
    assert report.goals[1].rejected_path == "rejected/m.tflite"
    assert (request_.out / "rejected" / "m.tflite").exists()


def test_an_artifact_of_an_earlier_run_is_told_apart(
    request_: ConversionRequest, tmp_path: Path
) -> None:
    first = _run(request_, tmp_path / "cache").report
    assert [goal.earlier_path for goal in first.goals] == [None, None]
    before = (request_.out / "m.tflite").read_bytes()
    damaged = {key: {"damage": True} for key in ("plain-tflite", "plain-tflite-direct")}
    report = _run(replace(request_, converter_options=damaged), tmp_path / "cache").report
    assert [goal.earlier_path for goal in report.goals] == [None, "m.tflite"]
    assert (request_.out / "m.tflite").read_bytes() == before
    [warning] = report.warnings
    assert "'m.tflite' is of an earlier run" in warning
    assert "('m.tflite' is of an earlier run)" in summarize(report)
    assert "m.tflite is of an earlier run" in re.sub("<[^>]*>", "", render_page(report))


def test_somebody_elses_file_is_not_called_an_artifact_of_an_earlier_run(
    request_: ConversionRequest, tmp_path: Path
) -> None:
    options = {**request_.capture_options, "refuse": True}
    request_.out.mkdir()
    refused = replace(request_, capture_options=options, goals=("tflite",), name="n")
    (request_.out / "m.tflite").write_text("mine")
    report = _run(refused, tmp_path / "cache").report
    assert report.goals[0].earlier_path is None
    assert report.warnings == []


def test_an_id_that_leads_to_one_format_alone_is_told(
    request_: ConversionRequest, tmp_path: Path
) -> None:
    conversion = _run(replace(request_, via=("plain-tflite",)), tmp_path / "cache")
    assert conversion.exit_status == 0
    assert conversion.report.warnings == [
        "--via plain-tflite says nothing of 'onnx': it does not lead there"
    ]


def test_a_refused_model_leaves_nothing(request_: ConversionRequest, tmp_path: Path) -> None:
    options = {**request_.capture_options, "invalid": True}
    with pytest.raises(InvalidInputError, match="is no model"):
        _run(replace(request_, capture_options=options), tmp_path / "cache")
    assert not request_.out.exists()


def test_a_capture_that_failed_is_reported(request_: ConversionRequest, tmp_path: Path) -> None:
    options = {**request_.capture_options, "refuse": True}
    goals = ("tflite",)
    conversion = _run(replace(request_, capture_options=options, goals=goals), tmp_path / "cache")
    assert isinstance(conversion.outcome.goals[0].error, ConversionError)
    error = read_report(request_.out).goals[0].error
    assert error is not None
    assert error.details == ["model.py:7"]


def test_an_output_folder_that_is_a_file_is_refused_before_any_work(
    request_: ConversionRequest, tmp_path: Path
) -> None:
    request_.out.write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        _run(request_, tmp_path / "cache")
    assert request_.out.read_text() == "mine"


def test_a_report_that_cannot_be_written_is_an_error_and_artifacts_stay(
    request_: ConversionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.report import document

    def full(path: Path, text: str) -> None:
        raise OutputError(f"'{path}' cannot be written", why="No space left on device")

    monkeypatch.setattr(document, "write_text", full)
    conversion = _run(request_, tmp_path / "cache")
    assert conversion.folder is None
    assert conversion.outcome.exit_status == 0
    assert conversion.exit_status == conversion.report.exit_status == 2
    assert isinstance(conversion.report_error, OutputError)
    assert "no report was written" in conversion.report.warnings
    assert (request_.out / "m.onnx").exists()


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_report_of_somebody_else_is_not_replaced(
    request_: ConversionRequest, tmp_path: Path, name: str
) -> None:
    request_.out.mkdir()
    (request_.out / name).write_text("mine")
    with pytest.raises(OutputError, match="did not make") as caught:
        _run(request_, tmp_path / "cache")
    assert caught.value.details == (f"'{name}'",)
    assert [path.name for path in request_.out.iterdir()] == [name]


def test_a_report_of_ours_is_replaced(request_: ConversionRequest, tmp_path: Path) -> None:
    first = _run(request_, tmp_path / "cache")
    again = _run(replace(request_, goals=("onnx",)), tmp_path / "cache")
    assert again.folder == first.folder
    assert [goal.format for goal in read_report(request_.out).goals] == ["onnx"]


def _options(tmp_path: Path, **changes: object) -> ConversionOptions:
    path = tmp_path / "net.py"
    path.write_text("")
    options = ConversionOptions(model=f"{path}:build", out=tmp_path / "out")
    return replace(options, **changes)  # type: ignore[arg-type]


def test_options_become_a_request(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    request = make_request(
        _options(
            tmp_path,
            inputs=("image:float32[N=1,3]",),
            metadata={"author": "A"},
            labels=labels,
            goals=("onnx", "tflite", "onnx"),
        )
    )
    assert request.name == "net"
    assert request.goals == ("onnx", "tflite")
    assert request.metadata == {"author": "A", "labels": "cat\ndog"}
    assert json.loads(json.dumps(request.capture_options))["inputs"][0]["tensor"]["name"] == "image"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"labels": Path("no-such.txt")}, InvalidInputError),
        ({"samples": Path("no-such.npz")}, InvalidInputError),
        ({"weights": Path("no-such.safetensors")}, InvalidInputError),
        ({"inputs": ("image",)}, UsageError),
        ({"model": "no-such.onnx"}, InvalidInputError),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    tmp_path: Path, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make_request(_options(tmp_path, **changes))


def test_labels_must_be_text_and_not_empty(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    for content in (b"", b"\n\n", b"\xff\xfe\x00"):
        labels.write_bytes(content)
        with pytest.raises(InvalidInputError, match="labels"):
            make_request(_options(tmp_path, labels=labels))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("net.py:mobilenet_v2", "mobilenet_v2"),
        ("resnet.py:create", "resnet"),
        ("resnet/model.py:get_model", "resnet"),
        ("my model.onnx", "my_model"),
        ("model.torchscript.pt", "model"),
    ],
)
def test_names_come_from_the_factory_or_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / text.partition(":")[0]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x08\x0a\x12\x00")
    assert default_name(parse_model(text)) == name


def test_a_factory_in_a_package_may_be_called_anything(tmp_path: Path) -> None:
    assert default_name(parse_model("zoo.mobilenet:build")) == "mobilenet"
    assert default_name(parse_model("zoo.mobilenet.model:create_model")) == "mobilenet"
    assert default_name(parse_model("model:create")) == "create"


def test_a_file_enters_the_graph_at_its_own_format(tmp_path: Path) -> None:
    (tmp_path / "net.py").touch()
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a\x12\x00")
    assert source_format(parse_model(f"{tmp_path}/net.py:f")) == "torch"
    assert source_format(parse_model(f"{tmp_path}/m.onnx")) == "onnx"
