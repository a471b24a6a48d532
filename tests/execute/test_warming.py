from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeconv.execute.in_process import InProcessLane
from edgeconv.execute.runner import Lane
from edgeconv.execute.warming import Warming
from edgeconv.plan import Planner
from edgeconv.testing.plain import PLAIN_SPECS, PLAIN_VERIFIERS

SPECS = tuple(replace(spec, warm=(f"module_of_{spec.id}",)) for spec in PLAIN_SPECS)
VERIFIERS = {
    key: replace(verifier, warm=(f"runtime_of_{key}",)) for key, verifier in PLAIN_VERIFIERS.items()
}


class Spy(InProcessLane):
    def __init__(self) -> None:
        super().__init__()
        self.warmed: dict[str, tuple[str, ...]] = {}

    def warm(self, lane: Lane, modules: Sequence[str]) -> None:
        assert lane.name not in self.warmed
        self.warmed[lane.name] = tuple(modules)


def warm(*goals: str, index: int = 0) -> dict[str, tuple[str, ...]]:
    spy = Spy()
    warming, planner = Warming(spy, VERIFIERS), Planner(SPECS)
    for goal in goals:
        warming.prepare(planner.best("torch", goal), index)
    return spy.warmed


def test_each_later_lane_is_made_ready_for_its_first_step() -> None:
    assert warm("tflite") == {"light": ("module_of_plain-tflite",)}
    assert warm("onnx") == {"light": ("runtime_of_onnx",)}
    assert warm("savedmodel", "tflite") == {
        "heavy": ("module_of_plain-savedmodel",),
        "light": ("module_of_plain-tflite",),
    }


def test_the_lane_of_the_step_that_runs_is_left_alone() -> None:
    assert warm("torchscript", "torch-export") == {}
    assert warm("savedmodel", index=2) == {}
