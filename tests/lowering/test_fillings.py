"""What depends on no value of an input is known before the model runs: masks made from its shape, tables behind a dropout."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")
import torch

from tests.lowering.case import Case
from tests.lowering.runtimes import assert_case, lower_case

pytestmark = pytest.mark.integration


def _windows(x: torch.Tensor) -> torch.Tensor:
    """The mask of shifted windows, written piece by piece, as vision transformers have it."""
    mask = x.new_zeros((4, 4))
    mask[:2, 2:] = 1
    mask[2:, :2] = 2
    flat = mask.reshape(-1)
    apart = flat.unsqueeze(0) - flat.unsqueeze(1)
    return x + apart.masked_fill(apart != 0, -100.0)


def test_a_mask_is_a_constant() -> None:
    lowered = lower_case(Case("windows", _windows, (torch.randn(16, 16),)))
    assert [node.op for node in lowered.graph.nodes] == ["ADD"]
    (mask,) = lowered.graph.constants()
    assert mask.constant is not None
    wanted = _windows(torch.zeros(16, 16))
    torch.testing.assert_close(torch.from_numpy(mask.constant), wanted)


def _written_into(x: torch.Tensor) -> torch.Tensor:
    y = x.new_ones((3, 4))
    z = y[1:]
    z += x
    return y * torch.zeros_like(y).add_(2)


def test_what_an_input_writes_into_is_no_constant(tmp_path: Path) -> None:
    lowered = lower_case(Case("written", _written_into, (torch.randn(2, 4),)))
    assert_case("tflite", lowered, tmp_path)


class _Positions(torch.nn.Module):
    """Projected positions, as transformers with relative ones have them; outside of training nothing is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(6, 4))
        self.project = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped = torch.nn.functional.dropout(self.table, 0.1, self.training)
        projected: torch.Tensor = self.project(dropped)
        return x + projected


def test_a_table_behind_a_dropout_is_a_constant() -> None:
    module = _Positions().eval()
    lowered = lower_case(Case("positions", module, (torch.randn(6, 4),)))
    assert [node.op for node in lowered.graph.nodes] == ["ADD"]
    (table,) = lowered.graph.constants()
    assert table.constant is not None
    wanted = module(torch.zeros(6, 4)).detach()
    torch.testing.assert_close(torch.from_numpy(table.constant), wanted)
