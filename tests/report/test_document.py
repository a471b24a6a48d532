from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from edgeconv.errors import InvalidInputError, OutputError
from edgeconv.execute.records import Outcome
from edgeconv.report.build import RunFacts, build_report
from edgeconv.report.document import (
    SCHEMA_PATH,
    read_report,
    report_schema,
    to_text,
    write_text,
    written_together,
)
from tests.report.conftest import make_metrics, make_verdict


def _document(outcome: Outcome, facts: RunFacts) -> dict[str, object]:
    data = json.loads(to_text(build_report(outcome, facts)))
    assert isinstance(data, dict)
    return data


def _problems(document: object) -> list[str]:
    validator = Draft202012Validator(json.loads(SCHEMA_PATH.read_text()))
    return [error.message for error in validator.iter_errors(document)]


def test_the_published_schema_is_that_of_the_models() -> None:
    assert SCHEMA_PATH.read_text() == report_schema(), (
        "run: python -m edgeconv report schema > edgeconv/report/schema.json"
    )


def test_the_published_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(report_schema()))


def test_a_report_fits_the_schema(outcome: Outcome, facts: RunFacts) -> None:
    document = _document(outcome, facts)
    assert document["schema"] == "edgeconv.report/1"
    assert _problems(document) == []


def test_the_schema_notices_damage(outcome: Outcome, facts: RunFacts) -> None:
    document = _document(outcome, facts)
    document["seed"] = "zero"
    del document["host"]
    assert len(_problems(document)) == 2


def test_a_run_that_failed_early_fits_the_schema(outcome: Outcome, facts: RunFacts) -> None:
    goals = tuple(replace(g, attempts=(), artifact=None, verdict=None) for g in outcome.goals)
    failed = replace(outcome, goals=goals, signature=None, steps=(), source_digest="")
    assert _problems(_document(failed, facts)) == []


def test_artifacts_are_told_relative_to_the_report(outcome: Outcome, facts: RunFacts) -> None:
    report = build_report(outcome, facts)
    assert [a.path for a in report.artifacts] == [
        "mobilenet.onnx",
        "mobilenet.torchscript.pt",
        "mobilenet.tflite",
    ]
    assert report.goals[2].rejected_path == "rejected/mobilenet.savedmodel"
    for artifact in report.artifacts:
        assert artifact.bytes == (facts.folder / artifact.path).stat().st_size


def test_an_artifact_has_the_facts_of_the_steps_that_made_it(
    outcome: Outcome, facts: RunFacts
) -> None:
    onnx, script, lite = build_report(outcome, facts).artifacts
    assert onnx.details == {"opset": 18, "delegated": None}  # infinity has no word in JSON
    assert script.details == {}
    assert lite.details == {"oldest_runtime": "2.14"}
    assert lite.route == ["torch-export", "edge-lowering", "edge-tflite"]


def test_every_attempt_and_the_status_are_told(outcome: Outcome, facts: RunFacts) -> None:
    report = build_report(outcome, facts)
    assert report.exit_status == 6
    assert [a.result for g in report.goals for a in g.attempts] == [
        "delivered",
        "delivered",
        "rejected",
        "failed",
        "delivered",
    ]
    assert report.goals[0].plan[0].formats == ["torch-export", "onnx"]
    assert [step.is_cache_hit for step in report.steps].count(True) == 1
    assert report.versions["torch"] == "2.14.0"


def test_the_capture_does_not_list_the_files_it_read(outcome: Outcome, facts: RunFacts) -> None:
    assert build_report(outcome, facts).steps[0].details == {"parameters": 3504872}


def test_a_number_that_is_not_finite_is_null(outcome: Outcome, facts: RunFacts) -> None:
    bad = replace(make_metrics("logits", 1.0), max_abs_error=float("inf"), cosine=float("nan"))
    verdict = replace(make_verdict("onnx", 1.0), outputs=(bad,))
    goal = replace(outcome.goals[0], verdict=verdict)
    document = _document(replace(outcome, goals=(goal,)), facts)
    assert _problems(document) == []
    output = json.loads(json.dumps(document))["artifacts"][0]["verdict"]["outputs"][0]
    assert output["max_abs_error"] is None
    assert output["cosine"] is None


def test_a_report_is_read_back_as_it_was_written(outcome: Outcome, facts: RunFacts) -> None:
    report = build_report(outcome, facts)
    write_text(facts.folder / "report.json", to_text(report))
    assert read_report(facts.folder) == report
    assert read_report(facts.folder / "report.json") == report


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": "edgeconv.report/2"}', '{"schema": "other"}']
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match="is no report") as caught:
        read_report(path)
    assert caught.value.details


def test_a_missing_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_report(tmp_path)


def test_a_field_of_a_later_version_is_passed_over(outcome: Outcome, facts: RunFacts) -> None:
    document = {**_document(outcome, facts), "invented_later": 1}
    path = facts.folder / "later.json"
    path.write_text(json.dumps(document))
    assert read_report(path) == build_report(outcome, facts)


def test_writing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "report.json", "new")
    assert [item.name for item in tmp_path.iterdir()] == ["report.json"]


def test_files_written_together_wait_for_the_block(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    with written_together(dict.fromkeys(paths, "new")):
        assert paths[0].read_text() == "old"
        assert not paths[1].exists()
    assert [path.read_text() for path in paths] == ["new", "new"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), written_together({tmp_path / "a": "new"}):
        raise ZeroDivisionError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}
