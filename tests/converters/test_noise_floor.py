"""The noise floor of a model, against float64 runs of PyTorch itself, and what users are told of a high one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.validation.reference import Reference, read_reference
from edgeconv_converters.torch_export.core import CaptureSettings, capture_module
from edgeconv_converters.torch_export.evaluate import run_in_float64

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


def _capture(module: nn.Module, folder: Path, *inputs: Tensor) -> tuple[Reference, tuple[str, ...]]:
    settings = CaptureSettings(name="net", output=folder)
    captured = capture_module(module, inputs, settings=settings)
    return read_reference(folder / "reference"), captured.warnings


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(4)]
        self.layers = nn.Sequential(*layers, nn.Linear(64, 8))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


class Sensitive(nn.Module):
    """Its outputs' rounding is multiplied for inputs that have a large value, which normal noise has by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.mix(x)
        loud: Tensor = (scores * torch.exp(4 * x.amax())).sin()
        return loud


def _distances(net: nn.Module, reference: Reference) -> list[float]:
    """How far each case is from float64."""
    wide, found = copy.deepcopy(net).double(), []
    for case in reference.cases:
        x = torch.from_numpy(case.inputs()["x"]).double()
        with torch.no_grad():
            exact = wide(x)
        distance = (exact - torch.from_numpy(case.outputs()["output"]).double()).abs().max()
        found.append(float(distance))
    return found


@pytest.mark.parametrize("make", [Deep, Sensitive])
def test_the_floor_is_the_largest_distance_to_float64(
    tmp_path: Path, make: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(0)
    net = make()
    reference, _ = _capture(net, tmp_path, torch.rand(3, 64) - 0.5)
    assert reference.noise_source == "float64"
    found = _distances(net, reference)
    assert min(found) > 0
    assert reference.noise_floor["output"] == pytest.approx(max(found))


class Best(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.mix(x)
        return scores.argmax(-1)


def test_integers_that_do_not_flip_have_no_floor(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference, warnings = _capture(Best(), tmp_path, torch.randn(40, 32))
    assert reference.noise_source == "float64"
    assert reference.noise_floor == {"output": 0.0}
    assert warnings == ()


class Rounded(nn.Module):
    """Half of the values are on the edge between two integers, and rounding decides."""

    def forward(self, x: Tensor) -> Tensor:
        third = x / 3
        return (third * 3 == x + (third - third.round(decimals=3)) * 1e-9).long()


def test_integers_that_flip_have_their_share_as_floor(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference, warnings = _capture(Rounded(), tmp_path, torch.randn(400))
    share = reference.noise_floor["output"]
    assert 0.05 < share < 0.95
    assert "follows from rounded numbers" in warnings[0]


def test_a_model_without_numbers_has_no_floor(tmp_path: Path) -> None:
    class Count(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    reference, _ = _capture(Count(), tmp_path, torch.arange(5))
    assert (reference.noise_source, reference.noise_floor) == ("none", {"output": 0.0})


def test_an_output_of_noise_alone_is_told(tmp_path: Path) -> None:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 1e8) - 1e8 - x

    reference, warnings = _capture(Noise(), tmp_path, torch.randn(64))
    assert reference.noise_floor["output"] > 0.1
    assert "depends on rounding" in warnings[0]


def test_the_ranges_are_those_of_all_cases(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference, _ = _capture(Deep(), tmp_path, torch.randn(3, 64))
    outputs = [case.outputs()["output"] for case in reference.cases]
    assert reference.ranges["output"] == (
        min(float(y.min()) for y in outputs),
        max(float(y.max()) for y in outputs),
    )


@pytest.mark.parametrize("has_program", [True, False])
def test_a_depthwise_convolution_in_float64_leaves_the_threads_as_they_were(
    has_program: bool,
) -> None:
    class Depthwise(nn.Conv2d):
        def forward(self, x: Tensor) -> tuple[Tensor]:  # type: ignore[override]  # flat, as a captured module is
            return (super().forward(x),)

    torch.manual_seed(0)
    net, x = Depthwise(8, 8, 3, groups=8).eval(), torch.randn(1, 8, 9, 9)
    program = torch.export.export(net, (x,)).module() if has_program else None
    before = torch.get_num_threads()
    found = run_in_float64(program, net, [x])
    assert torch.get_num_threads() == before
    (exact,) = copy.deepcopy(net).double()(x.double())
    assert found is not None
    assert torch.equal(found[0], exact)
    assert run_in_float64(program, net, [torch.randn(2)]) is None  # of another shape
    assert torch.get_num_threads() == before
