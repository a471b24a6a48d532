"""Models that make numbers and sizes of the values of tensors: right for every value, or refused with their line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

import edgeconv as ec
from edgeconv.errors import CaptureError
from edgeconv.plugin.live import find_live
from edgeconv.plugin.tracing import trace_live
from edgeconv.validation.reference import read_reference

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class _Model(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, n: Tensor) -> object:
        return self.function(x, n)


def _reshape(x: Tensor, n: Tensor) -> object:
    return x.reshape(int(n), -1) * 2


def _slice_sum(x: Tensor, n: Tensor) -> object:
    return x[: int(n.sum())] * 2


def _zeros_max(x: Tensor, n: Tensor) -> object:
    return torch.zeros(int(n.max())) + x.mean()


def _rank(x: Tensor, n: Tensor) -> object:
    return x.flatten() if float(n) > 2 else x.reshape(3, 4)


def _arange(x: Tensor, n: Tensor) -> object:
    return torch.arange(n.item()) * x.mean()


def _tolist(x: Tensor, n: Tensor) -> object:
    return x.new_ones(*(int(size) for size in n.flatten().tolist())) * x.mean()


def _loop(x: Tensor, n: Tensor) -> object:
    return torch.stack([x * i for i in range(int(n))])


def _resize(x: Tensor, n: Tensor) -> object:
    return nn.functional.interpolate(x.reshape(1, 1, 12), scale_factor=n.item())


@pytest.mark.parametrize(
    "function",
    [_reshape, _slice_sum, _zeros_max, _rank, _arange, _tolist, _loop, _resize],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize("number", [4, 4.0], ids=["int", "float"])
def test_a_shape_that_values_decide_is_refused_with_its_line(
    function: Callable[..., object], number: float
) -> None:
    """Most random numbers are no sizes, so these models run on few inputs besides the example."""
    if function is _resize and isinstance(number, int):
        pytest.skip("PyTorch takes no tensor of integers for a scale")
    with pytest.raises(CaptureError, match="the shape of output 'output'") as caught:
        ec.capture(_Model(function), (torch.linspace(-1, 1, 12), torch.tensor(number)))
    assert "depends on the values" in caught.value.why
    assert [line for line in caught.value.details if Path(__file__).name in line], str(caught.value)


class _TwoProblems(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # what the export ends at
            x = x + 1
        x = x[torch.tensor([2, 0, 1, 3])]  # positions: the size is known
        return x[x > 0.5]  # what gives the output its size


def test_the_line_is_that_of_the_problem_that_is_told() -> None:
    with pytest.raises(CaptureError, match="the shape of output 'output'") as caught:
        ec.capture(_TwoProblems(), (torch.linspace(-1, 1, 4),))
    (line,) = caught.value.details
    assert "return x[x > 0.5]" in line


def test_a_model_that_runs_on_its_example_alone_is_refused() -> None:
    example = torch.linspace(-1, 1, 12)

    def picky(x: Tensor, n: Tensor) -> object:
        if not torch.equal(x, example) or n != 4:
            raise ValueError("not the one I know")
        return x * 2

    with pytest.raises(CaptureError, match="nothing but its example") as caught:
        ec.capture(_Model(picky), (example, torch.tensor(4)))
    assert "not the one I know" in caught.value.why
    assert "--samples" in caught.value.hint


def test_varied_examples_find_what_noise_does_not() -> None:
    """A model that refuses all noise is known by variations of its example."""

    def whole(x: Tensor, n: Tensor) -> object:
        if not torch.equal(n, n.round()):
            raise ValueError("whole numbers only")
        return x * n

    model = ec.capture(
        _Model(whole), (torch.linspace(-1, 1, 12), torch.tensor([3.0, 4.0, 5.0] * 4))
    )
    assert model.captured is not None
    assert any("random inputs like the example do not run" in w for w in model.captured.warnings)
    reference = read_reference(model.captured.output / "reference")
    counts = [case.inputs()["n"] for case in reference.cases]
    assert any((n == example + 1).all() for n in counts for example in counts)


class _Counted(nn.Module):
    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        count = n.item()
        counted: Tensor = x + torch.zeros(count).sum() + torch.arange(count).sum()
        return counted


def test_torchscript_keeps_a_number_that_the_program_reads(tmp_path: Path) -> None:
    """A trace would hold the number of the example, and the example is all that the noise of one integer is."""
    x = torch.linspace(-1, 1, 3)
    model = ec.capture(_Counted(), (x, torch.tensor(3)), name="counted")
    assert model.captured is not None
    live = find_live(model.context, model.captured.output / "model.pt2")
    assert live is not None
    assert live.program is not None
    assert trace_live(live).decisions
    done = ec.convert(model, to=["torchscript"], out=tmp_path / "out", diagnosis_seconds=0)
    for count in (2, 3, 7):
        n = torch.tensor(count)
        (got,) = done["torchscript"].run({"x": x.numpy(), "n": n.numpy()}).values()
        assert abs(got - _Counted()(x, n).numpy()).max() < 1e-6
