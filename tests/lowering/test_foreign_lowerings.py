"""Lowerings that are not edgeconv's own: what they may return, and who is told of a slip in them."""

from __future__ import annotations

import inspect

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.errors import ConversionError
from edgeconv.graph import Graph
from edgeconv.graph import Tensor as GraphTensor
from edgeconv.lowering.extend import LoweringBuilder
from edgeconv.lowering.program import lower_program
from edgeconv.lowering.registry import Lowering, LoweringRegistry, lower
from edgeconv.lowering.sources import plugin_operators
from edgeconv.signature import DType, Signature, TensorSpec

pytestmark = [pytest.mark.integration]


class Extremes(nn.Module):
    def forward(self, x: Tensor) -> object:
        return torch.aminmax(x)


@lower("aten.aminmax")
def as_tuple(b: LoweringBuilder, x: GraphTensor, **_: object) -> tuple[GraphTensor, GraphTensor]:
    low, high = (b.reduce(op, x, (), keep_dims=False) for op in ("REDUCE_MIN", "REDUCE_MAX"))
    return low, high


@lower("aten.aminmax")
def misspelled(b: LoweringBuilder, x: GraphTensor, **_: object) -> GraphTensor:
    return b.op("REDUCE_LEAST", x)


@lower("aten.aminmax")
def one_of_two(b: LoweringBuilder, x: GraphTensor, **_: object) -> GraphTensor:
    return b.reduce("REDUCE_MIN", x, (), keep_dims=False)


def _lower(lowering: Lowering) -> Graph:
    program = torch.export.export(Extremes(), (torch.eye(3),), strict=False)
    spec = TensorSpec(name="x", dtype=DType.FLOAT32, shape=(3, 3))
    outputs = tuple(
        TensorSpec(name=name, dtype=DType.FLOAT32, shape=()) for name in ("low", "high")
    )
    signature = Signature(inputs=(spec,), outputs=outputs)
    registry = LoweringRegistry([lowering])
    return lower_program(program, signature, name="foreign", registry=registry)


def test_several_results_may_be_a_tuple() -> None:
    assert [node.op for node in _lower(as_tuple).nodes] == ["REDUCE_MIN", "REDUCE_MAX"]


def test_a_slip_is_told_with_the_line_of_the_lowering() -> None:
    with pytest.raises(ConversionError, match="the lowering of") as caught:
        _lower(misspelled)
    lines, start = inspect.getsourcelines(misspelled.function)
    (offset,) = [index for index, line in enumerate(lines) if "REDUCE_LEAST" in line]
    assert "REDUCE_LEAST" in caught.value.why
    assert caught.value.details[0] == f"{__name__}, line {start + offset}"
    assert __name__ in caught.value.hint
    assert "edgeconv" not in caught.value.hint


def test_what_a_program_owes_to_plugins_is_known() -> None:
    program = torch.export.export(Extremes(), (torch.eye(3),), strict=False)
    extended, _ = LoweringRegistry(()).extended([("'acme'", as_tuple), ("'other'", misspelled)])
    assert plugin_operators(program.graph_module, extended) == {"aten.aminmax.default": "'acme'"}
    own = LoweringRegistry([as_tuple])
    assert plugin_operators(program.graph_module, own) == {}
    kept, _ = own.extended([("'acme'", misspelled)])  # an operator that has a lowering keeps it
    assert plugin_operators(program.graph_module, kept) == {}


def test_missing_results_are_counted() -> None:
    with pytest.raises(ConversionError) as caught:
        _lower(one_of_two)
    assert "gave 1 of 2 results" in caught.value.why
