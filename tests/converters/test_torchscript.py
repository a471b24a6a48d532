"""TorchScript: what has one path is traced, what decides by values is scripted, and nothing is cut short in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule

from edgeconv.errors import StepError
from edgeconv.formats import load_handler
from edgeconv.plugin.tracing import trace_live
from edgeconv_converters.torchscript.worker import convert, convert_otherwise
from tests.converters import branching
from tests.converters.model import Model, capture, draw

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("branch")
    return capture(branching.Branch(), (draw(2, 4),), folder)


def _load(path: Path) -> ScriptModule:
    script: ScriptModule = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return script


def test_a_branch_is_kept_and_verified_on_both_sides(branch: Model, tmp_path: Path) -> None:
    path = tmp_path / "branch.pt"
    result = branch.convert(convert, path)
    assert result.details["method"] == "script"
    assert branch.verify(path, "torchscript").passed
    sums = [float(case.inputs()["features"].sum()) for case in branch.reference.cases]
    assert min(sums) < 0 < max(sums)


def test_a_trace_of_a_branch_fails_verification(branch: Model, tmp_path: Path) -> None:
    path = tmp_path / "traced.pt"
    traced = torch.jit.trace(branch.live.module, branch.live.examples, check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, str(path))
    load_handler("torchscript").stamp(path, branch.live.signature, {})
    verdict = branch.verify(path, "torchscript")
    assert not verdict.passed
    assert "is off by" in verdict.summary()


def test_a_branch_that_no_drawn_input_takes_is_kept(tmp_path: Path) -> None:
    model = capture(branching.RareBranch(), (draw(2, 3),), tmp_path / "capture")
    traced = trace_live(model.live)
    assert [line.partition(": ")[2] for line in traced.decisions] == ["if x.max() > 100:"]
    path = tmp_path / "rare.pt"
    model.convert(convert, path)
    script = _load(path)
    assert torch.equal(script(torch.full((2, 3), 101.0)), torch.zeros(2, 3))
    assert torch.equal(script(torch.zeros(2, 3)), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("module", "examples", "inputs", "outputs"),
    [
        (
            branching.Nested(),
            {
                "batch": {"right": draw(2, 4), "left": draw(2, 4)},
                "mask": torch.ones(2, dtype=torch.bool),
                "pair": (draw(2), [draw(2), draw(3)]),
                "scale": 2.0,
            },
            ["batch_right", "batch_left", "pair_0", "pair_1_0", "pair_1_1", "mask"],
            ["logits", "kept"],
        ),
        (
            branching.Loop(),
            {"rounds": torch.tensor([1, 3]), "x": draw(2, 3)},
            ["x", "rounds"],
            ["output_0", "output_1"],
        ),
        (branching.NamedOutputs(), [draw(2, 3)], ["x"], ["output_0", "output_1"]),
    ],
    ids=["nested", "loop", "named-outputs"],
)
def test_any_structure_becomes_a_flat_signature(
    tmp_path: Path,
    module: nn.Module,
    examples: Sequence[object] | Mapping[str, object],
    inputs: list[str],
    outputs: list[str],
) -> None:
    model = capture(module, examples, tmp_path / "capture")
    path = tmp_path / "model.pt"
    assert model.convert(convert, path).details["method"] == "script"
    signature = load_handler("torchscript").read_signature(path)
    assert [spec.name for spec in signature.inputs] == inputs
    assert [spec.name for spec in signature.outputs] == outputs
    arguments = _load(path).forward.schema.arguments[1:]  # type: ignore[attr-defined]
    assert [argument.name for argument in arguments] == inputs
    assert model.verify(path, "torchscript").passed


def test_a_script_is_scripted_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    scripted = torch.jit.script(branching.Branch().eval())
    model = capture(scripted, (draw(2, 4),), tmp_path / "capture")
    path = tmp_path / "model.pt"
    model.convert(convert, path)
    assert model.verify(path, "torchscript").passed


def test_what_neither_way_keeps_is_refused_with_its_lines(tmp_path: Path) -> None:
    model = capture(branching.NumpyBranch(), (draw(2, 3),), tmp_path / "capture")
    with pytest.raises(StepError) as caught:
        model.convert(convert, tmp_path / "model.pt")
    assert "torch.jit.script" in caught.value.message
    assert "no attribute or method 'numpy'" in caught.value.why
    with pytest.raises(StepError) as caught:
        model.convert(convert_otherwise, tmp_path / "model.pt")
    assert "one of several paths" in caught.value.message
    assert "decides by values" in caught.value.why
    assert [line.partition(": ")[2] for line in caught.value.details] == [
        "if x.numpy().sum() > 0:",
    ]
    assert "branching.py:" in caught.value.details[0]
    assert not (tmp_path / "model.pt").exists()


def test_an_input_that_no_script_can_be_handed_is_refused(tmp_path: Path) -> None:
    pair = branching.Pair(draw(2, 3), draw(2, 3))
    model = capture(branching.NamedInputs(), (pair,), tmp_path / "capture")
    with pytest.raises(StepError, match="script cannot call") as caught:
        model.convert(convert, tmp_path / "model.pt")
    assert "'Pair'" in caught.value.why


class _Straight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor, *, gain: Tensor) -> dict[str, Tensor]:
        return {"scaled": self.layer(x) * gain}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    examples = {"gain": draw(3), "x": draw(2, 4)}
    dynamic = {"x": {0: "N"}}
    return capture(_Straight(), examples, tmp_path_factory.mktemp("straight"), dynamic=dynamic)


def test_what_has_one_path_is_traced_with_its_dims(straight: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    result = straight.convert(convert, path)
    assert result.details["method"] == "trace"
    assert straight.verify(path, "torchscript").passed
    assert {case.sizes["N"] for case in straight.reference.cases} > {2}
    (scaled,) = _load(path)(draw(7, 4), draw(3))
    assert scaled.shape == (7, 3)
    handler = load_handler("torchscript")
    assert handler.read_metadata(path) == {"author": "Ada"}


def test_a_damaged_trace_fails_verification(straight: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    weight = straight.live.module.get_parameter("module.layer.weight")
    with torch.no_grad():
        weight[0, 0] += 0.01
        straight.convert(convert, path)
        weight[0, 0] -= 0.01
    assert not straight.verify(path, "torchscript").passed


def test_a_single_tensor_comes_out_as_one(tmp_path: Path) -> None:
    model = capture(nn.Linear(4, 3), (draw(2, 4),), tmp_path / "capture")
    path = tmp_path / "model.pt"
    assert model.convert(convert, path).details["method"] == "trace"
    assert _load(path)(draw(2, 4)).shape == (2, 3)
    assert model.verify(path, "torchscript").passed


def test_a_model_without_a_program_or_a_script_is_traced_if_it_decides_nothing(
    straight: Model, tmp_path: Path
) -> None:
    call = replace(straight.live.call, forward="", problem="its input is a generator")
    live = replace(straight.live, program=None, call=call)
    model = Model(folder=straight.folder, context={**straight.context, "edgeconv.live": live})
    path = tmp_path / "model.pt"
    with pytest.raises(StepError, match="script cannot call"):
        model.convert(convert, path)
    assert model.convert(convert_otherwise, path).details["method"] == "trace"
    assert model.verify(path, "torchscript").passed


def test_what_has_one_path_may_be_scripted(straight: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    assert straight.convert(convert_otherwise, path).details["method"] == "script"
    assert straight.verify(path, "torchscript").passed
    (scaled,) = _load(path)(draw(7, 4), draw(3))
    assert scaled.shape == (7, 3)


def test_a_module_that_is_gone_is_told(straight: Model, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="not in this process"):
        straight.convert(convert, tmp_path / "model.pt", source=tmp_path)
