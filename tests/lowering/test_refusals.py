"""What the graph cannot express is refused by name, with the user's own line, all of it at once."""

from __future__ import annotations

import inspect

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import UnsupportedOperatorsError
from edgeconv.lowering.program import lower_program
from edgeconv.signature import DType, Signature, TensorSpec

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class Several(nn.Module):
    def forward(self, x: Tensor) -> object:
        y = torch.special.airy_ai(x) + torch.special.airy_ai(x + 1)
        return torch.linalg.inv(y) + torch.special.bessel_j0(x)


class Masked(nn.Module):
    def forward(self, x: Tensor) -> object:
        return x[x > 0].sum()


class RandomSlopes(nn.Module):
    def forward(self, x: Tensor) -> object:
        return torch.nn.functional.rrelu(x, training=True)


class Random(nn.Module):
    def forward(self, x: Tensor) -> object:
        return x + torch.rand_like(x)


def _refuse(module: nn.Module, x: Tensor | None = None) -> UnsupportedOperatorsError:
    x = torch.eye(3) + 1 if x is None else x
    program = torch.export.export(module.eval(), (x,), strict=False)
    spec = TensorSpec(name="x", dtype=DType(str(x.dtype).removeprefix("torch.")), shape=(3, 3))
    out = TensorSpec(name="out", dtype=DType.FLOAT32, shape=())
    signature = Signature(inputs=(spec,), outputs=(out,))
    with pytest.raises(UnsupportedOperatorsError) as caught:
        lower_program(program, signature, name="refused")
    return caught.value


def _line_of(module: type[nn.Module], text: str) -> str:
    lines, start = inspect.getsourcelines(module)
    (offset,) = [index for index, line in enumerate(lines) if text in line]
    return f"test_refusals.py:{start + offset} in forward"


def test_all_operators_are_listed_as_the_user_called_them() -> None:
    error = _refuse(Several())
    assert error.message == "3 operators cannot be lowered"
    counts = {line.partition(",")[0] for line in error.details}
    assert counts == {
        "aten.special_airy_ai.default x2",
        "aten.linalg_inv_ex.default x1",
        "aten.special_bessel_j0.default x1",
    }
    (airy,) = [line for line in error.details if "airy_ai" in line]
    assert airy.endswith(_line_of(Several, "special.airy_ai"))


@pytest.mark.parametrize(
    ("module", "text", "why"),
    [
        (Masked, "x[x > 0]", "is not known before the model runs"),
        (RandomSlopes, "functional.rrelu", "random slopes"),
        (Random, "rand_like", ""),
    ],
)
def test_a_refusal_says_where_and_why(module: type[nn.Module], text: str, why: str) -> None:
    details = "\n".join(_refuse(module()).details)
    assert _line_of(module, text) in details
    assert why in details


def test_a_complex_input_is_refused() -> None:
    error = _refuse(nn.Identity(), torch.zeros(3, 3, dtype=torch.complex64))
    assert error.message == "input 'x' is complex"


def test_a_complex_output_is_refused() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> object:
            return torch.fft.fft(x)

    assert _refuse(Spectrum()).message == "output 'out' is complex"
