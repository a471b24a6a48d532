from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from edgeconv.errors import (
    CaptureError,
    ConversionError,
    InvalidInputError,
    MissingDependencyError,
    NoRouteError,
    OutputError,
    UnsupportedOperatorsError,
    UsageError,
    ValidationError,
)
from edgeconv.plugin import ConverterSpec, Rejection
from edgeconv.testing.plain import PLAIN_SPECS, PLAIN_VERIFIERS
from tests.execute.desk import Desk, goal, hits, ids, with_entry, without

ALL = ("torch-export", "onnx", "torchscript", "savedmodel", "tflite")
DAMAGE = {"damage": True}


def test_all_formats_are_delivered_and_nothing_else(desk: Desk) -> None:
    outcome = desk.convert(*ALL)
    assert outcome.exit_status == 0
    assert [item.format for item in outcome.goals] == list(ALL)
    assert sorted(path.name for path in desk.out.iterdir()) == [
        "m.onnx",
        "m.pt2",
        "m.savedmodel",
        "m.tflite",
        "m.torchscript.pt",
    ]
    assert (desk.out / "m.savedmodel" / "saved_model.pb").exists()
    assert (desk.out / "m.tflite").read_text().startswith("hello\nweights")
    assert sorted(p.name for p in desk.out.iterdir() if p.name.startswith(".")) == []
    assert desk.leftovers() == []


def test_an_artifact_says_what_it_is(desk: Desk) -> None:
    outcome = desk.convert("tflite", metadata={"author": "Ada"})
    item = goal(outcome, "tflite")
    assert item.artifact is not None
    assert item.verdict is not None
    assert item.artifact.path == desk.out / "m.tflite"
    assert item.artifact.digest == item.verdict.candidate
    assert item.artifact.metadata["author"] == "Ada"
    assert item.artifact.metadata["source_digest"] == outcome.source_digest != ""
    assert len(item.artifact.parents) == 1
    assert outcome.parameters == len("hello\nweights")
    assert outcome.peak_memory_bytes > 0


def test_steps_that_goals_share_run_once(desk: Desk) -> None:
    outcome = desk.convert("tflite", "savedmodel")
    assert ids(outcome).count("plain-capture/plain-lowering") == 1
    assert ids(outcome).count("capture") == 1
    assert ids(outcome)[0] == "capture"


def test_only_lanes_that_are_used_get_a_process(desk: Desk) -> None:
    desk.convert("tflite")
    assert desk.workers_started == 2  # torch and light; neither heavy nor direct


def test_listeners_hear_of_every_step(desk: Desk) -> None:
    outcome = desk.convert("onnx")
    assert sorted(desk.ears.started) == sorted(ids(outcome))
    verdicts = [verdict for record, verdict in desk.ears.ended if record.step.kind == "verify"]
    assert [verdict.passed for verdict in verdicts if verdict] == [True]


def test_one_job_at_a_time_does_the_same(desk: Desk) -> None:
    outcome = desk.convert(*ALL, jobs=1)
    assert outcome.exit_status == 0
    ends = [(r.started_seconds, r.started_seconds + r.seconds) for r in outcome.steps]
    assert all(end <= start + 1e-3 for (_, end), (start, _) in pairwise(ends))


HOSTILE = (
    "crash",
    "exit_process",
    "exit_politely",
    "hang",
    "fill_memory",
    "raise_error",
    "miss_tool",
    "return_garbage",
    "return_nothing",
    "leave_no_output",
    "point_elsewhere",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_converter_costs_its_route_and_no_more(desk: Desk, name: str) -> None:
    outcome = desk.convert(
        "onnx",
        "tflite",
        specs=with_entry({"plain-onnx": f"hostile:{name}"}),
        timeout_seconds=1.0 if name == "hang" else 60.0,
        memory_limit_bytes=256 << 20,
    )
    assert outcome.exit_status == 0
    first, second = goal(outcome, "onnx").attempts
    assert (first.route, first.result) == (("plain-capture", "plain-onnx"), "failed")
    assert (second.route, second.result) == (("plain-onnx-trace",), "delivered")
    assert "'plain-onnx'" in first.reason
    failed = next(r for r in outcome.steps if r.step.converter == "plain-onnx")
    assert failed.error is not None
    assert desk.files() == ["m.onnx", "m.tflite"]
    assert (desk.out / "m.onnx").read_text().startswith("hello\ntraced\n")
    assert desk.leftovers() == []


def test_a_model_lost_in_a_crash_is_captured_again_for_who_needs_it(desk: Desk) -> None:
    outcome = desk.convert("onnx", specs=with_entry({"plain-onnx": "hostile:crash"}))
    assert ids(outcome).count("capture-again") == 1
    assert outcome.exit_status == 0
    unharmed = desk.convert("onnx", specs=without("plain-onnx"), use_cache=False)
    assert "capture-again" not in ids(unharmed)


def test_a_tool_that_kills_the_process_each_time_is_given_up(desk: Desk) -> None:
    specs = with_entry({"plain-onnx": "hostile:crash", "plain-onnx-trace": "hostile:crash"})
    outcome = desk.convert("onnx", "torchscript", specs=specs)
    assert isinstance(goal(outcome, "onnx").error, ConversionError)
    assert goal(outcome, "torchscript").error is None
    assert outcome.exit_status == 5


def test_wrong_numbers_name_the_operators_that_plugins_translate(desk: Desk) -> None:
    brought = {"plugin_operators": {"acme.swish.default": "'acme' of 'acme-edge'"}}
    options = {"plain-lowering": brought, "plain-tflite": DAMAGE, "plain-tflite-direct": DAMAGE}
    outcome = desk.convert("tflite", converter_options=options)
    ours, direct = (item.reason for item in goal(outcome, "tflite").attempts)
    assert "'acme.swish.default' (plug-in 'acme' of 'acme-edge')" in ours
    assert "acme" not in direct  # no plug-in had a hand in it
    assert "acme.swish.default" in str(goal(outcome, "tflite").error)


def test_a_wrong_artifact_is_rejected_and_the_next_route_delivers(desk: Desk) -> None:
    outcome = desk.convert("tflite", converter_options={"plain-tflite": DAMAGE})
    item = goal(outcome, "tflite")
    assert [a.result for a in item.attempts] == ["rejected", "delivered"]
    assert "the first line differs" in item.attempts[0].reason
    assert item.attempts[1].route == ("plain-capture", "plain-tflite-direct")
    assert item.rejected_path == desk.out / "rejected" / "m.tflite"
    assert desk.files() == ["m.tflite", "rejected/m.tflite", "rejected/m.tflite.json"]
    reason = json.loads((desk.out / "rejected" / "m.tflite.json").read_text())
    assert reason["verdict"]["problems"] == ["the first line differs"]
    assert reason["route"] == ["plain-capture", "plain-lowering", "plain-tflite"]
    assert (desk.out / "m.tflite").read_text().startswith("hello")


def test_what_was_rejected_before_goes_when_it_is_delivered(desk: Desk) -> None:
    damage = {"plain-savedmodel": DAMAGE}
    bad = desk.convert("savedmodel", converter_options=damage)
    assert isinstance(goal(bad, "savedmodel").error, ValidationError)
    assert bad.exit_status == 6
    assert desk.files()[0] == "rejected/m.savedmodel.json"
    desk.convert("savedmodel")
    assert [path.name for path in desk.out.iterdir()] == ["m.savedmodel"]


def test_an_artifact_that_kills_its_runtime_is_rejected(desk: Desk) -> None:
    crashing = replace(PLAIN_VERIFIERS["onnx"], entry="edgeconv.testing.hostile:crash")
    outcome = desk.convert("onnx", verifiers={**PLAIN_VERIFIERS, "onnx": crashing})
    item = goal(outcome, "onnx")
    assert [a.result for a in item.attempts] == ["rejected", "rejected"]
    assert outcome.exit_status == 6
    assert not (desk.out / "m.onnx").exists()


def test_a_verification_without_verdict_delivers_nothing(desk: Desk) -> None:
    broken = replace(PLAIN_VERIFIERS["onnx"], entry="edgeconv.testing.hostile:return_nothing")
    outcome = desk.convert("onnx", verifiers={**PLAIN_VERIFIERS, "onnx": broken})
    assert outcome.exit_status == 5
    assert desk.files() == []


def test_all_attempts_are_told_when_every_route_failed(desk: Desk) -> None:
    specs = with_entry({"plain-tflite": "plain:fail", "plain-tflite-direct": "hostile:crash"})
    outcome = desk.convert("tflite", specs=specs)
    error = goal(outcome, "tflite").error
    assert type(error) is ConversionError
    assert outcome.exit_status == 5
    text = "\n".join(error.details)
    assert "plain-lowering → plain-tflite: 2 operators" in text
    assert "aten::fft x 2 (model.py:3)" in text
    assert "plain-tflite-direct: 'plain-tflite-direct' crashed" in text
    assert not desk.out.exists()


def test_an_only_route_fails_with_its_own_error(desk: Desk) -> None:
    outcome = desk.convert("savedmodel", specs=with_entry({"plain-lowering": "plain:fail"}))
    error = goal(outcome, "savedmodel").error
    assert isinstance(error, UnsupportedOperatorsError)
    assert len(error.details) == 2


def test_a_lost_edge_is_not_tried_for_another_goal(desk: Desk) -> None:
    specs = with_entry({"plain-lowering": "plain:fail"})
    outcome = desk.convert("savedmodel", "tflite", specs=specs)
    assert ids(outcome).count("plain-capture/plain-lowering") == 1
    assert goal(outcome, "tflite").error is None
    assert goal(outcome, "savedmodel").error is not None


def test_no_route(desk: Desk) -> None:
    outcome = desk.convert("savedmodel", "onnx", specs=without("plain-savedmodel"))
    error = goal(outcome, "savedmodel").error
    assert isinstance(error, NoRouteError)
    assert outcome.exit_status == 3
    assert desk.files() == ["m.onnx"]


def test_nothing_is_captured_when_nothing_can_be_reached(desk: Desk) -> None:
    outcome = desk.convert("savedmodel", specs=without("plain-savedmodel"))
    assert outcome.steps == ()
    assert desk.workers_started == 0
    assert not desk.out.exists()


def _needing(*changed: str) -> tuple[ConverterSpec, ...]:
    def change(spec: ConverterSpec) -> ConverterSpec:
        return replace(spec, requires=("no_such_tool",), extra="litert-torch")

    return tuple(change(spec) if spec.id in changed else spec for spec in PLAIN_SPECS)


@pytest.mark.parametrize("missing", [("plain-savedmodel",), ("plain-capture",)])
def test_a_missing_package_is_named_with_the_command(desk: Desk, missing: tuple[str, ...]) -> None:
    outcome = desk.convert("savedmodel", specs=_needing(*missing))
    error = goal(outcome, "savedmodel").error
    assert isinstance(error, MissingDependencyError)
    assert error.hint == "pip install 'edgeconv[litert-torch]'"
    assert outcome.exit_status == 4


def test_a_missing_runtime_is_known_before_any_work(desk: Desk) -> None:
    needy = replace(PLAIN_VERIFIERS["onnx"], requires=("no_such_runtime",), extra="onnx")
    outcome = desk.convert("onnx", verifiers={**PLAIN_VERIFIERS, "onnx": needy})
    assert isinstance(goal(outcome, "onnx").error, MissingDependencyError)
    assert outcome.steps == ()


def test_a_tool_found_missing_while_it_runs(desk: Desk) -> None:
    outcome = desk.convert(
        "savedmodel", specs=with_entry({"plain-savedmodel": "hostile:miss_tool"})
    )
    assert isinstance(goal(outcome, "savedmodel").error, MissingDependencyError)


def test_a_capture_that_fails_is_the_error_of_every_format(desk: Desk) -> None:
    options = {"file": str(desk.model), "invalid": True}
    outcome = desk.convert("onnx", "tflite", capture_options=options)
    assert all(isinstance(item.error, InvalidInputError) for item in outcome.goals)
    assert outcome.exit_status == 2
    assert outcome.signature is None
    assert not desk.out.exists()


@pytest.mark.parametrize("name", ["crash", "leave_no_output", "return_garbage"])
def test_a_capture_that_dies_is_a_typed_error(desk: Desk, name: str) -> None:
    outcome = desk.convert("onnx", specs=with_entry({"plain-capture": f"hostile:{name}"}))
    assert isinstance(goal(outcome, "onnx").error, ConversionError)
    assert outcome.exit_status == 5


def test_a_capture_that_is_none_is_a_typed_error(desk: Desk) -> None:
    outcome = desk.convert("onnx", specs=with_entry({"plain-capture": "hostile:print_noise"}))
    error = goal(outcome, "onnx").error
    assert isinstance(error, ConversionError)
    assert "not a capture" in error.why


def test_without_a_program_what_needs_none_is_still_made(desk: Desk) -> None:
    options = {"file": str(desk.model), "refuse": True}
    outcome = desk.convert(*ALL, capture_options=options)
    assert desk.files() == ["m.onnx", "m.torchscript.pt"]
    assert goal(outcome, "onnx").attempts[0].route == ("plain-onnx-trace",)
    for format_id in ("torch-export", "tflite", "savedmodel"):
        error = goal(outcome, format_id).error
        assert isinstance(error, CaptureError)
        assert error.details == ("model.py:7",)
    assert outcome.exit_status == 5


def test_a_program_that_is_read_from_memory_is_not_written(desk: Desk) -> None:
    outcome = desk.convert("tflite")
    assert outcome.exit_status == 0
    assert "plain-capture" not in ids(outcome)
    program = "hello\nweights"
    assert (desk.out / "m.tflite").read_text().startswith(program)


def test_a_program_is_written_once_somebody_needs_its_file(desk: Desk) -> None:
    specs = with_entry({"plain-lowering": "plain:fail"})
    outcome = desk.convert("tflite", specs=specs)
    assert goal(outcome, "tflite").attempts[1].route == ("plain-capture", "plain-tflite-direct")
    assert outcome.exit_status == 0
    assert ids(outcome).count("plain-capture") == 1
    assert "capture-again" not in ids(outcome)
    again = desk.convert("tflite", specs=specs)
    assert again.exit_status == 0
    assert all(hits(again))


def test_a_program_lost_in_a_crash_is_captured_again_for_its_file(desk: Desk) -> None:
    specs = with_entry({"plain-lowering": "hostile:crash"})
    outcome = desk.convert("tflite", specs=specs)
    assert outcome.exit_status == 0
    assert ids(outcome).count("capture-again") == 1
    assert (desk.out / "m.tflite").read_text().startswith("hello\nweights")


def test_a_converter_may_refuse_the_model(desk: Desk) -> None:
    def refuse(spec: ConverterSpec) -> ConverterSpec:
        return replace(spec, accepts=lambda artifact: Rejection(reason=f"{artifact.format}: no"))

    specs = tuple(refuse(s) if s.id == "plain-tflite" else s for s in PLAIN_SPECS)
    outcome = desk.convert("tflite", specs=specs)
    first, second = goal(outcome, "tflite").attempts
    assert "edge-graph: no" in first.reason
    assert second.result == "delivered"


def test_via_and_avoid(desk: Desk) -> None:
    via = desk.convert("tflite", "onnx", via=("plain-tflite-direct",))
    assert goal(via, "tflite").attempts[0].route == ("plain-capture", "plain-tflite-direct")
    assert goal(via, "onnx").error is None
    avoid = desk.convert("tflite", avoid=("edge-graph",))
    assert goal(avoid, "tflite").attempts[0].route == ("plain-capture", "plain-tflite-direct")
    traced = desk.convert("onnx", avoid=("torch-export",))
    assert goal(traced, "onnx").attempts[0].route == ("plain-onnx-trace",)


@pytest.mark.parametrize(
    ("goals", "changes"),
    [
        ((), {}),
        (("mp3",), {}),
        (("torch",), {}),
        (("onnx",), {"via": ("no-such-tool",)}),
        (("onnx",), {"avoid": ("no-such-tool",)}),
        (("onnx",), {"via": ("plain-tflite",)}),
        (("onnx",), {"name": "../../evil"}),
        (("onnx",), {"name": ""}),
    ],
)
def test_what_means_nothing_is_refused(
    desk: Desk, goals: tuple[str, ...], changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        desk.run(desk.request(*goals, **changes))
    assert not desk.out.exists()


def test_an_output_folder_that_is_a_file(desk: Desk) -> None:
    desk.out.write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        desk.convert("onnx")
    assert desk.workers_started == 0
    assert desk.out.read_text() == "mine"


def test_what_was_in_the_output_folder_stays(desk: Desk) -> None:
    desk.out.mkdir()
    (desk.out / "notes.txt").write_text("mine")
    desk.convert("onnx", "tflite")
    before = (desk.out / "m.onnx").read_text()
    desk.model.write_text("hello\nother weights")
    assert desk.convert("onnx", "tflite").exit_status == 0
    assert desk.files() == ["m.onnx", "m.tflite", "notes.txt"]
    assert (desk.out / "m.onnx").read_text() != before


def test_an_older_artifact_survives_a_failure(desk: Desk) -> None:
    desk.convert("savedmodel")
    before = (desk.out / "m.savedmodel" / "saved_model.pb").read_text()
    desk.convert("savedmodel", converter_options={"plain-savedmodel": DAMAGE})
    assert (desk.out / "m.savedmodel" / "saved_model.pb").read_text() == before


def test_a_captured_model_is_taken_as_it_is(desk: Desk, tmp_path: Path) -> None:
    from edgeconv.execute.in_process import InProcessLane, LaneRouter
    from edgeconv.execute.pool import WorkerPool
    from edgeconv.plugin import Job, JobResult
    from edgeconv.testing import plain

    lane = InProcessLane()
    job = Job(name="m", inputs={}, output=tmp_path / "here", options={"file": str(desk.model)})
    captured = JobResult.from_json(plain.capture(job.to_json(), lane.context))
    from edgeconv.execute.executor import convert
    from edgeconv.plugin.registry import Registry

    with WorkerPool(desk.settings.worker_environment) as pool:
        outcome = convert(
            desk.request("torchscript", "onnx", "tflite", captured=captured),
            registry=Registry(PLAIN_SPECS),
            runner=LaneRouter({"torch": lane}, pool),
            store=desk.store,
            listener=desk.ears,
            scratch=desk.settings.scratch_dir,
            verifiers=PLAIN_VERIFIERS,
        )
        assert pool.started == 1  # only light: torch is here
    assert outcome.exit_status == 0
    assert "capture" not in ids(outcome)
    assert (tmp_path / "here" / "model.pt2").exists()


def test_no_cache_means_none(desk: Desk) -> None:
    desk.convert("onnx")
    again = desk.convert("onnx", use_cache=False)
    assert not any(hits(again))
