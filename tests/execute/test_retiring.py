from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from edgeconv.execute.in_process import InProcessLane
from edgeconv.execute.pool import WorkerPool
from edgeconv.execute.retiring import Retiring
from edgeconv.execute.runner import Lane, Task
from edgeconv.plan import Planner
from edgeconv.plan.plan import Plan
from edgeconv.settings import load_settings
from edgeconv.testing.plain import PLAIN_SPECS, PLAIN_VERIFIERS

# Of the routes to TFLite and SavedModel the capture and the lowering are done, which need the model.
_LOWERED = 2


class Spy(InProcessLane):
    def __init__(self) -> None:
        super().__init__()
        self.retired: list[str] = []

    def retire(self, lane: Lane) -> None:
        self.retired.append(lane.name)


def _plans(*goals: str) -> Mapping[str, Plan]:
    planner = Planner(PLAIN_SPECS)
    return {goal: planner.best("torch", goal) for goal in goals}


def _retiring(spy: Spy, plans: Mapping[str, Plan], *, is_large: bool = True) -> Retiring:
    return Retiring(spy, PLAIN_VERIFIERS, plans, is_large=is_large, model_lane=Lane(name="torch"))


def _write(retiring: Retiring, plan: Plan) -> None:
    """All steps of a route are done, and its verification is next."""
    for index in range(len(plan.steps)):
        retiring.advance(plan, index + 1)


def test_a_lane_ends_with_the_last_goal_that_needs_it() -> None:
    spy = Spy()
    retiring = _retiring(spy, _plans("tflite", "savedmodel", "onnx"))
    retiring.finish("savedmodel")
    assert spy.retired == ["heavy"]
    retiring.finish("tflite")
    assert spy.retired == ["heavy"]  # ONNX is verified where TFLite is written
    retiring.finish("onnx")
    assert spy.retired == ["heavy"]  # all is done, and the pool ends everything


def test_only_the_runtime_is_needed_for_a_verification() -> None:
    spy = Spy()
    plans = _plans("onnx", "tflite", "savedmodel")
    retiring = _retiring(spy, plans)
    _write(retiring, plans["savedmodel"])
    _write(retiring, plans["tflite"])
    assert spy.retired == []  # ONNX still needs the lane that captured the model
    _write(retiring, plans["onnx"])
    assert spy.retired == ["torch"]
    retiring.follow(plans["onnx"])
    _write(retiring, plans["onnx"])
    assert spy.retired == ["torch", "torch"]


def test_a_model_of_usual_size_keeps_its_lanes_for_another_route() -> None:
    spy = Spy()
    plans = _plans("onnx", "tflite")
    retiring = _retiring(spy, plans, is_large=False)
    _write(retiring, plans["onnx"])
    _write(retiring, plans["tflite"])
    assert spy.retired == []


def test_the_model_is_given_up_when_no_step_to_come_reads_it() -> None:
    spy = Spy()
    plans = _plans("onnx", "tflite", "savedmodel")
    retiring = _retiring(spy, plans)
    retiring.advance(plans["tflite"], _LOWERED)
    retiring.advance(plans["savedmodel"], _LOWERED)
    assert spy.retired == []  # ONNX is still to be written there
    _write(retiring, plans["onnx"])
    assert spy.retired == ["torch"]  # before TFLite and SavedModel are written


def test_another_route_needs_the_model_again() -> None:
    spy = Spy()
    plans = _plans("torchscript", "tflite")
    retiring = _retiring(spy, plans)
    _write(retiring, plans["torchscript"])
    retiring.follow(plans["torchscript"])
    retiring.advance(plans["tflite"], _LOWERED)
    assert spy.retired == []
    _write(retiring, plans["torchscript"])
    assert spy.retired == ["torch"]


def test_another_route_keeps_its_lane() -> None:
    spy = Spy()
    plans = _plans("tflite", "savedmodel")
    retiring = _retiring(spy, plans)
    detour = Plan(
        goal="tflite",
        source=plans["tflite"].source,
        steps=(*plans["savedmodel"].steps,),
        cost=plans["tflite"].cost,
    )
    retiring.follow(detour)
    retiring.finish("savedmodel")
    assert spy.retired == []


def test_a_process_ends_and_the_next_task_gets_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "own_worker.py"
    path.write_text("import os\ndef work(request, context):\n return {'pid': os.getpid()}")
    task = Task(title="'own'", entry={"path": str(path), "function": "work"})
    lane = Lane(name="test")
    with WorkerPool(load_settings().worker_environment) as pool:
        first = pool.run(lane, task)
        pool.retire(lane)
        assert not psutil.pid_exists(int(str(first.unwrap()["pid"])))
        second = pool.run(lane, task)
    assert second.unwrap() != first.unwrap()
    assert second.generation == first.generation + 1
    assert os.getpid() not in (first.unwrap()["pid"], second.unwrap()["pid"])
