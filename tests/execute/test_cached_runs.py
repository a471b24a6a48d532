"""What a second run takes from the first, and what it must not take."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeconv.errors import UnsupportedOperatorsError
from edgeconv.testing.plain import PLAIN_SPECS
from tests.execute.desk import Desk, goal, hits, ids, with_entry

ALL = ("torch-export", "onnx", "torchscript", "savedmodel", "tflite")


def test_a_second_run_computes_nothing(desk: Desk) -> None:
    first = desk.convert(*ALL)
    second = desk.convert(*ALL)
    assert not any(hits(first))
    assert all(hits(second))
    assert desk.workers_started == 0
    assert sorted(ids(second)) == sorted(ids(first))
    assert second.goals == first.goals
    assert second.signature == first.signature


PROGRAM = """
import sys
from pathlib import Path
from tests.execute.desk import Desk, hits
desk = Desk(Path(sys.argv[1]))
outcome = desk.convert("onnx", "savedmodel")
heavy = {"numpy", "torch", "tensorflow", "onnx", "onnxruntime", "ai_edge_litert", "rich", "pydantic"}
print(all(hits(outcome)), desk.workers_started, sorted(heavy & set(sys.modules)))
"""


def test_the_host_of_a_cached_run_imports_no_framework(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    answers = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert answers == ["False 3 []\n", "True 0 []\n"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7},
        {"name": "other"},
    ],
)
def test_what_every_step_depends_on(desk: Desk, changes: dict[str, object]) -> None:
    desk.convert("onnx")
    assert not any(
        record.is_cache_hit
        for record in desk.run(desk.request("onnx", **changes)).steps
        if record.step.kind != "verify"
    )


def test_another_author_means_another_artifact_of_the_same_capture(desk: Desk) -> None:
    desk.convert("onnx")
    again = desk.run(desk.request("onnx", metadata={"author": "Ada"}))
    assert hits(again)[:2] == [True, False]


def test_a_changed_model_is_captured_again(desk: Desk) -> None:
    desk.convert("onnx")
    desk.model.write_text("other\nweights")
    assert not any(hits(desk.convert("onnx")))
    assert (desk.out / "m.onnx").read_text().startswith("other")
    desk.model.write_text("hello\nweights")  # both are remembered
    assert all(hits(desk.convert("onnx")))
    assert (desk.out / "m.onnx").read_text().startswith("hello")


def test_an_option_of_a_converter_changes_what_follows_it(desk: Desk) -> None:
    desk.convert("tflite")
    again = desk.convert("tflite", converter_options={"plain-tflite": {"level": 2}})
    assert dict(zip(ids(again), hits(again), strict=True)) == {
        "capture": True,
        "plain-capture/plain-lowering": True,
        "plain-capture/plain-lowering/plain-tflite": False,
        "plain-capture/plain-lowering/plain-tflite/verify": False,
    }


def test_a_new_version_of_a_converter_is_run(desk: Desk) -> None:
    desk.convert("onnx")
    specs = [replace(s, version="2") if s.id == "plain-onnx" else s for s in PLAIN_SPECS]
    again = desk.convert("onnx", specs=specs)
    assert hits(again)[:2] == [True, False]
    assert hits(again)[2]  # it made the same file, whose verdict is known


def test_the_folder_edgeconv_is_called_in_matters_to_the_capture(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.convert("onnx")
    monkeypatch.chdir(tmp_path)
    assert hits(desk.convert("onnx"))[0] is False


def test_a_cached_capture_is_repeated_for_who_needs_the_module(desk: Desk) -> None:
    desk.convert("onnx")
    outcome = desk.convert("torchscript", "onnx")
    assert outcome.exit_status == 0
    assert ids(outcome).count("capture-again") == 1
    by_id = dict(zip(ids(outcome), hits(outcome), strict=True))
    assert by_id["capture"]
    assert by_id["plain-capture/plain-onnx"]
    assert not by_id["plain-trace"]


def test_a_refusal_is_remembered_and_a_crash_is_not(desk: Desk) -> None:
    specs = with_entry({"plain-onnx": "plain:fail", "plain-onnx-trace": "hostile:crash"})
    desk.convert("onnx", specs=specs)
    second = desk.convert("onnx", specs=specs)
    records = {r.step.converter: r for r in second.steps if r.step.id != "capture-again"}
    assert isinstance(records["plain-onnx"].error, UnsupportedOperatorsError)
    assert records["plain-onnx"].is_cache_hit
    assert not records["plain-onnx-trace"].is_cache_hit


def test_a_bad_verdict_is_remembered(desk: Desk) -> None:
    options = {"plain-savedmodel": {"damage": True}}
    desk.convert("savedmodel", converter_options=options)
    again = desk.convert("savedmodel", converter_options=options)
    assert all(hits(again))
    assert again.exit_status == 6


def test_a_damaged_entry_is_computed_again(desk: Desk) -> None:
    first = desk.convert("onnx")
    artifact = goal(first, "onnx").artifact
    assert artifact is not None
    stored = next((desk.settings.store_dir / "objects").glob(f"*/{artifact.digest}"))
    stored.write_bytes(b"damaged")
    again = desk.convert("onnx")
    assert again.exit_status == 0
    assert any("damaged" in text for text in again.warnings)
    assert (desk.out / "m.onnx").read_text().startswith("hello")
    assert all(hits(desk.convert("onnx")))


def test_damage_that_leaves_size_and_times_is_found_as_well(desk: Desk) -> None:
    artifact = goal(desk.convert("onnx"), "onnx").artifact
    assert artifact is not None
    stored = next((desk.settings.store_dir / "objects").glob(f"*/{artifact.digest}"))
    times = stored.stat()
    content = bytearray(stored.read_bytes())
    content[3] ^= 1
    stored.write_bytes(content)
    os.utime(stored, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = desk.convert("onnx")
    assert any("damaged" in text for text in again.warnings)
    assert (desk.out / "m.onnx").read_text().startswith("hello")


def test_a_delivered_file_that_is_edited_does_not_reach_the_cache(desk: Desk) -> None:
    desk.convert("onnx")
    with (desk.out / "m.onnx").open("a") as stream:
        stream.write("edited")
    again = desk.convert("onnx")
    assert all(hits(again))
    assert again.warnings == ()
    assert "edited" not in (desk.out / "m.onnx").read_text()


def test_a_cache_that_cannot_be_written_is_done_without(desk: Desk) -> None:
    desk.settings.store_dir.parent.mkdir(parents=True)
    desk.settings.store_dir.write_text("not a folder")
    outcome = desk.convert("onnx")
    assert outcome.exit_status == 0
    assert any("was not cached" in text for text in outcome.warnings)


def test_code_of_a_converter_is_part_of_the_key(desk: Desk) -> None:
    from edgeconv.store import CodeDigests

    code = CodeDigests(desk.store.digests)
    one = code.digest("edgeconv.testing.plain:copy")
    assert one == code.digest("edgeconv.testing.hostile:crash")
    assert one != code.digest("json.decoder:JSONDecoder")
