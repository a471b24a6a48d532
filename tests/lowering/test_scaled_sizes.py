"""Sizes that a program gets by scaling others: whole numbers, rounded as PyTorch rounds them, or refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import SymInt, Tensor, nn

from edgeconv.dims import evaluate
from edgeconv.errors import ConversionError
from edgeconv.lowering.sizes import size_from_torch

pytestmark = pytest.mark.filterwarnings("ignore")


class _Resize(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=self.scale)


def _exported_size(scale: float) -> SymInt:
    axis = torch.export.Dim("length", min=12, max=100000)
    program = torch.export.export(
        _Resize(scale), (torch.zeros(1, 1, 20),), dynamic_shapes=({2: axis},)
    )
    (output,) = next(node for node in program.graph.nodes if node.op == "output").args[0]
    size = output.meta["val"].shape[2]
    assert isinstance(size, SymInt)
    return size


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.75, 1.1, 1.3, 1.7, 2.2, 1 / 3, 2.0])
def test_a_scaled_size_is_what_pytorch_computes(scale: float) -> None:
    size = _exported_size(scale)
    (symbol,) = size.node.expr.free_symbols
    found = size_from_torch(size, {symbol.name: "N"})
    for length in [*range(12, 400), 999, 4095, 50000]:
        resized = _Resize(scale)(torch.zeros(1, 1, length)).shape[2]
        assert evaluate(found, {"N": length}) == resized, length


@pytest.mark.parametrize("scale", [0.7, 1.4, 0.29])
def test_a_scale_whose_rounding_no_fraction_has_is_refused(scale: float) -> None:
    """90 times 0.7 is 62.99... in double precision, and 10 times 0.7 is 7."""
    size = _exported_size(scale)
    (symbol,) = size.node.expr.free_symbols
    with pytest.raises(ConversionError, match=f"the size '{scale}") as caught:
        size_from_torch(size, {symbol.name: "N"})
    assert "no fraction gives all sizes" in caught.value.why
    assert "0.5" in caught.value.hint
