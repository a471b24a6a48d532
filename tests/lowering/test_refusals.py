"""What the graph cannot express is refused by name, with the user's own line, all of it at once."""

from __future__ import annotations

import inspect

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import UnsupportedOperatorsError
from edgeconv.lowering.impossible import REASONS
from edgeconv.lowering.program import lower_program
from edgeconv.signature import DType, Signature, TensorSpec

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


class Several(nn.Module):
    def forward(self, x: Tensor) -> object:
        y = torch.linalg.ldl_factor(x).LD + torch.linalg.ldl_factor(x + 1).LD
        return torch.linalg.eigvals(y).real + torch.hash_tensor(x).float()


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
        "aten.linalg_ldl_factor_ex.default x2",
        "aten.linalg_eig.default x1",
        "aten.hash_tensor.default x1",
    }
    (factor,) = [line for line in error.details if "ldl_factor" in line]
    assert f"{_line_of(Several, 'linalg.ldl_factor')}: LAPACK's factorization" in factor
    (eigen,) = [line for line in error.details if "linalg_eig" in line]
    assert eigen.endswith(REASONS["eigenvalues"])


@pytest.mark.parametrize(
    ("module", "text", "why"),
    [
        (Masked, "x[x > 0]", "is not known before the model runs"),
        (RandomSlopes, "functional.rrelu", "random slopes"),
        (Random, "rand_like", "no runtime draws what PyTorch draws"),
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
