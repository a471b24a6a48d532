"""What is in the output folder already: ours is replaced, everything else stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeconv.artifact import digest_path
from edgeconv.errors import OutputError
from edgeconv.execute.ownership import is_our_rejection, is_ours
from edgeconv.execute.records import StepRecord
from edgeconv.validation.verdict import Verdict
from tests.execute.desk import Desk, Ears, goal

DAMAGE = {"damage": True}


def test_what_is_somebody_elses_is_not_replaced_and_no_work_is_done_for_it(desk: Desk) -> None:
    (desk.out / "m.savedmodel").mkdir(parents=True)
    (desk.out / "m.savedmodel" / "thesis.txt").write_text("mine")
    (desk.out / "m.onnx").write_text("also mine")
    with pytest.raises(OutputError) as caught:
        desk.convert("savedmodel", "onnx", "tflite")
    named = [line.partition(":")[0] for line in caught.value.details]
    assert named == ["'m.savedmodel'", "'m.onnx'"]
    assert desk.workers_started == 0
    assert desk.files() == ["m.onnx", "m.savedmodel/thesis.txt"]
    assert (desk.out / "m.onnx").read_text() == "also mine"


def test_a_link_to_something_is_not_replaced(desk: Desk) -> None:
    desk.out.mkdir()
    elsewhere = desk.root / "elsewhere"
    elsewhere.write_text('{"edgeconv_version": 1}')
    (desk.out / "m.onnx").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="did not make"):
        desk.convert("onnx")
    assert (desk.out / "m.onnx").is_symlink()


def test_what_appears_while_a_run_goes_on_is_not_replaced_either(desk: Desk) -> None:
    class Intruder(Ears):
        def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
            if record.step.kind == "verify":
                (desk.out / "m.onnx").write_text("mine")

    outcome = desk.run(desk.request("onnx"), ears=Intruder())
    assert isinstance(goal(outcome, "onnx").error, OutputError)
    assert (desk.out / "m.onnx").read_text() == "mine"


def test_a_folder_that_vanishes_while_a_run_goes_on_is_made_again(desk: Desk) -> None:
    class Sweeper(Ears):
        def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
            if record.step.kind == "verify":
                desk.out.rmdir()

    assert desk.run(desk.request("onnx"), ears=Sweeper()).exit_status == 0
    assert desk.files() == ["m.onnx"]


def test_a_folder_that_another_run_swaps_meanwhile_is_delivered_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.convert("savedmodel")
    real_rename = Path.rename
    renamed: list[Path] = []

    def rename(self: Path, target: Path) -> Path:
        moved = real_rename(self, target)
        if self.name == "m.savedmodel" and not renamed:  # another run is faster by a hair
            renamed.append(self)
            (self / "assets.extra").mkdir(parents=True)
            (self / "assets.extra" / "edgeconv.json").write_text("{}")
        return moved

    monkeypatch.setattr(Path, "rename", rename)
    assert desk.convert("savedmodel").exit_status == 0
    assert renamed
    assert (desk.out / "m.savedmodel" / "saved_model.pb").exists()
    assert list(desk.out.glob(".edgeconv-*")) == []


def test_something_else_among_the_rejected_stays(desk: Desk) -> None:
    (desk.out / "rejected").mkdir(parents=True)
    (desk.out / "rejected" / "m.onnx").write_text("mine")
    damaged = dict.fromkeys(("plain-onnx", "plain-tflite", "plain-tflite-direct"), DAMAGE)
    outcome = desk.convert("onnx", "tflite", converter_options=damaged)
    assert goal(outcome, "onnx").attempts[0].result == "rejected"
    assert goal(outcome, "onnx").rejected_path is None
    assert goal(outcome, "tflite").rejected_path == desk.out / "rejected" / "m.tflite"
    assert (desk.out / "rejected" / "m.onnx").read_text() == "mine"


def test_an_artifact_is_ours_by_its_record_or_by_the_report_beside_it(tmp_path: Path) -> None:
    artifact = tmp_path / "m.onnx"
    artifact.write_bytes(b"of a converter that leaves no record")
    assert not is_ours(artifact)
    listed = [{"path": "m.onnx", "sha256": digest_path(artifact)}]
    (tmp_path / "report.json").write_text(json.dumps({"artifacts": listed}))
    assert is_ours(artifact)
    artifact.write_bytes(b"changed by its user since")
    assert not is_ours(artifact)
    artifact.write_bytes(b'x"edgeconv_version"x')
    assert is_ours(artifact)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"artifacts": 3}', '{"artifacts": [1]}'])
def test_a_report_that_is_none_makes_nothing_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    (tmp_path / "m.onnx").write_text("mine")
    assert not is_ours(tmp_path / "m.onnx")


def test_an_empty_folder_is_ours_and_an_empty_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert is_ours(tmp_path / "folder")
    assert not is_ours(tmp_path / "file")


def test_a_reason_is_ours_when_it_is_written_as_one(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx.json"
    assert not is_our_rejection(path)
    path.write_text("[]")
    assert not is_our_rejection(path)
    path.write_text('{"format": "onnx", "route": [], "reason": "", "verdict": null}')
    assert is_our_rejection(path)


def test_weights_of_somebody_else_beside_an_artifact_are_not_replaced(desk: Desk) -> None:
    desk.out.mkdir()
    (desk.out / "m.onnx.data").write_text("mine")
    with pytest.raises(OutputError) as caught:
        desk.convert("onnx")
    (line,) = caught.value.details
    assert line == "'m.onnx': 'm.onnx.data' exists already, and edgeconv did not make it"
    assert (desk.out / "m.onnx.data").read_text() == "mine"


def test_our_weights_of_an_earlier_artifact_go_with_it(desk: Desk) -> None:
    desk.out.mkdir()
    (desk.out / "m.onnx.data").write_bytes(b'x"edgeconv_version"x')
    assert desk.convert("onnx").exit_status == 0
    assert desk.files() == ["m.onnx"]
