"""Models that do what few do: each becomes right in every format, or is refused in words that name the cause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import edgeconv as ec
from edgeconv.artifact import measure_size
from edgeconv.errors import CaptureError, EdgeconvError, InvalidInputError
from edgeconv.errors import UnsupportedOperatorsError as Unsupported
from tests.converters.model import draw

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("unusual"),
]

ALL = ("onnx", "torchscript", "savedmodel", "tflite")
# Its process takes seconds to start, and none of these is about it.
AVOID = ("litert-torch", "tflite-converter")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))


class _Model(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor) -> object:
        return self.function(x, y)


def _convert(
    module: nn.Module, examples: tuple[Tensor, ...], out: Path, formats: tuple[str, ...] = ALL
) -> ec.ConversionResult:
    model = ec.capture(module, examples, name="unusual")
    return ec.convert(
        model, to=formats, out=out, avoid=AVOID, diagnosis_seconds=0, allow_partial=True
    )


def _mutate(x: Tensor, y: Tensor) -> object:
    x.add_(1)
    y[:, 0] = 0
    return x * y


def _write_through_a_view(x: Tensor, y: Tensor) -> object:
    flat = x.view(-1)
    flat.mul_(2)
    return x, flat, y.t(), x


def _empty(x: Tensor, y: Tensor) -> object:
    nothing = x[:, :0]
    return torch.cat([x, nothing], 1) + y, nothing.sum(1), x[:0], torch.zeros(0, 3).sum(0)


@pytest.mark.parametrize(
    "function", [_mutate, _write_through_a_view, _empty], ids=lambda function: function.__name__
)
@pytest.mark.parametrize("is_same", [False, True], ids=["two tensors", "one tensor twice"])
def test_mutated_aliased_and_empty_tensors(
    tmp_path: Path, function: Callable[..., object], is_same: bool
) -> None:
    x = draw(2, 4)
    before = x.clone()
    done = _convert(_Model(function), (x, x if is_same else x + 1), tmp_path / "out")
    assert done.errors == {}
    assert torch.equal(x, before)
    wanted = _Model(function)(before.clone(), before + 3)
    first = wanted[0] if isinstance(wanted, tuple) else wanted
    for artifact in done.values():
        # Two inputs are two inputs, whatever the examples were.
        got = artifact.run({"x": before.numpy(), "y": (before + 3).numpy()})
        assert torch.allclose(torch.from_numpy(next(iter(got.values()))), first, atol=1e-5)


class _Tied(nn.Module):
    def __init__(self, *, is_tied: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 64)
        self.first = nn.Linear(64, 1000, bias=False)
        self.second = nn.Linear(64, 1000, bias=False)
        if is_tied:
            self.first.weight = self.second.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embed(ids)
        scores: Tensor = self.first(h) + self.second(h.relu())
        return scores


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes: dict[bool, Mapping[str, int]] = {}
    for is_tied in (True, False):
        out = tmp_path / str(is_tied)
        formats = (*ALL, "torch-export")
        done = _convert(_Tied(is_tied=is_tied), (torch.tensor([[1, 2, 3]]),), out, formats)
        assert done.errors == {}
        sizes[is_tied] = {name: measure_size(made.path) for name, made in done.items()}
    table = 1000 * 64 * 4
    assert all(table < size < 1.25 * table for size in sizes[True].values()), sizes
    assert all(3 * table < size < 3.25 * table for size in sizes[False].values()), sizes


def _error(module: nn.Module, examples: tuple[Tensor, ...], out: Path, format_id: str) -> str:
    error: EdgeconvError = _convert(module, examples, out, (format_id,)).errors[format_id]
    return str(error)


def test_more_axes_than_kernels_take_are_told(tmp_path: Path) -> None:
    def turn(x: Tensor, y: Tensor) -> object:
        spread = x.reshape(2, 1, 2, 1, 2, 1, 2, 1, 2)
        return torch.sin(spread).permute(8, 7, 6, 5, 4, 3, 2, 1, 0) + y

    examples = (draw(2, 2, 2, 2, 2), draw(1))
    told = _error(_Model(turn), examples, tmp_path / "out", "tflite")
    assert "SIN of float32, rank 9, x1, first at sin test_unusual_models.py:" in told
    assert "hint: use another dtype or a smaller rank in the model" in told
    assert (
        _convert(_Model(turn), examples, tmp_path / "other", ("onnx", "torchscript")).errors == {}
    )


def test_a_dtype_without_a_counterpart_is_told(tmp_path: Path) -> None:
    def narrow(x: Tensor, y: Tensor) -> object:
        return x.to(torch.float8_e4m3fn).to(torch.float32) * y

    told = _error(_Model(narrow), (draw(2, 4), draw(2, 4)), tmp_path / "out", "savedmodel")
    assert "aten.to.dtype x1, first at to test_unusual_models.py:" in told
    assert "the dtype float8_e4m3fn has no counterpart" in told


def test_an_input_of_a_dtype_without_a_counterpart_is_refused() -> None:
    examples = (draw(2, 4).to(torch.float8_e4m3fn), draw(2, 4))
    with pytest.raises(InvalidInputError, match="float8_e4m3fn") as caught:
        ec.capture(_Model(lambda x, y: x.float() * y), examples)
    assert ".float()" in caught.value.hint


@pytest.mark.parametrize(
    ("function", "second"),
    [
        (lambda x, y: torch.nonzero(x > 0), torch.ones(1)),
        (lambda x, y: x[x > 0] * 2, torch.ones(1)),
        (lambda x, y: torch.zeros(y.item(), 4) + x[:1], torch.tensor(3)),
    ],
    ids=["nonzero", "mask", "item"],
)
def test_an_output_whose_size_depends_on_values_is_refused(
    function: Callable[..., object], second: Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CaptureError, match="shape of output 'output'") as caught:
        ec.capture(_Model(function), (draw(2, 4), second))
    assert "depends on the values" in caught.value.why
    assert caught.value.hint
    assert capfd.readouterr() == ("", "")  # PyTorch prints graphs that it gives up on


def test_sizes_that_depend_on_values_inside_name_the_line(tmp_path: Path) -> None:
    told = _error(
        _Model(lambda x, y: x[x > 0].sum() + y), (draw(2, 4), draw(1)), tmp_path / "out", "tflite"
    )
    assert "is not known before the model runs" in told
    assert "test_unusual_models.py:" in told


def test_examples_without_elements_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="outputs are empty"):
        ec.capture(_Model(lambda x, y: x + y), (torch.zeros(0, 4), torch.zeros(0, 4)))


def test_an_operator_that_nobody_lowers_keeps_its_line(tmp_path: Path) -> None:
    done = _convert(
        _Model(lambda x, y: torch.linalg.ldl_factor(x).LD + y),
        (draw(4, 4), draw(4, 4)),
        tmp_path / "out",
        ("savedmodel", "tflite"),
    )
    assert [type(error) for error in done.errors.values()] == [Unsupported, Unsupported]
    for error in done.errors.values():
        assert "ldl_factor_ex.default x1, first at " in error.details[0]
        assert "test_unusual_models.py:" in error.details[0]
        assert "adding-an-operator" in error.hint
