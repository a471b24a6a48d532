"""Activations that are written out become their operators; what only looks like one stays."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from edgeconv.graph import Builder, Graph, Tensor, check_graph
from edgeconv.passes.activations import join_activations
from edgeconv.signature import DType

SLOPE = math.sqrt(2 / math.pi)
Formula = Callable[["Formulas", Tensor], Tensor]


class Formulas:
    """Arithmetic with numbers."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def _as_tensor(self, value: Tensor | float, dtype: DType) -> Tensor:
        return value if isinstance(value, Tensor) else self.b.scalar(value, dtype)

    def __call__(self, op: str, *values: Tensor | float) -> Tensor:
        dtype = next(value.dtype for value in values if isinstance(value, Tensor))
        return self.b.op(op, *(self._as_tensor(value, dtype) for value in values))


def _cubic(f: Formulas, x: Tensor, factor: float = 0.044715) -> Tensor:
    cube = f("MUL", f("MUL", x, x), x)
    return f("MUL", SLOPE, f("ADD", x, f("MUL", factor, cube)))


def _gelu_of_gpt2(f: Formulas, x: Tensor) -> Tensor:
    return f("MUL", f("MUL", 0.5, x), f("ADD", 1.0, f("TANH", _cubic(f, x))))


def _gelu_factored(f: Formulas, x: Tensor) -> Tensor:
    inner = f("ADD", 1.0, f("MUL", 0.044715, f("SQUARE", x)))
    z = f("MUL", f("MUL", x, SLOPE), inner)
    return f("ADD", f("DIV", x, 2.0), f("MUL", f("MUL", x, 0.5), f("TANH", z)))


def _gelu_logistic(f: Formulas, x: Tensor) -> Tensor:
    return f("MUL", x, f("LOGISTIC", f("MUL", 2.0, _cubic(f, x))))


def _gelu_of_bert(f: Formulas, x: Tensor) -> Tensor:
    return f("MUL", f("MUL", x, 0.5), f("ADD", 1.0, f("ERF", f("DIV", x, math.sqrt(2)))))


def _hard_swish(f: Formulas, x: Tensor) -> Tensor:
    return f("DIV", f("MUL", f("RELU6", f("ADD", x, 3.0)), x), 6.0)


def _hard_swish_negated_twice(f: Formulas, x: Tensor) -> Tensor:
    ramp = f("RELU6", f("SUB", x, -3.0))
    return f("NEG", f("MUL", f("NEG", x), f("MUL", ramp, 1 / 6)))


def _build(formula: Formula, dtype: DType = DType.FLOAT32) -> Graph:
    b = Builder("graph")
    read = b.input("read", dtype, (2, 3))
    # What the activation reads is a sum itself, as behind a bias.
    x = b.op("ADD", read, b.input("bias", dtype, (2, 3)))
    b.graph.outputs = [formula(Formulas(b), x)]
    return b.graph


@pytest.mark.parametrize(
    ("formula", "op", "approximate"),
    [
        (_gelu_of_gpt2, "GELU", True),
        (_gelu_factored, "GELU", True),
        (_gelu_logistic, "GELU", True),
        (_gelu_of_bert, "GELU", False),
        (_hard_swish, "HARD_SWISH", None),
        (_hard_swish_negated_twice, "HARD_SWISH", None),
    ],
)
def test_a_formula_becomes_one_operator(
    formula: Formula, op: str, approximate: bool | None
) -> None:
    graph = _build(formula)
    (wanted,) = graph.outputs
    assert join_activations(graph) == 1
    check_graph(graph)
    assert [node.op for node in graph.nodes] == ["ADD", op]
    assert graph.nodes[-1].attributes.get("approximate") is approximate
    assert graph.outputs == [wanted]


@pytest.mark.parametrize(
    "formula",
    [
        lambda f, x: f("MUL", f("MUL", 0.5, x), f("ADD", 1.0, f("TANH", _cubic(f, x, 0.045)))),
        lambda f, x: f("MUL", f("MUL", 0.5, x), f("ADD", 1.01, f("TANH", _cubic(f, x)))),
        lambda f, x: f("MUL", x, f("LOGISTIC", _cubic(f, x))),
        lambda f, x: f("MUL", f("MUL", x, 0.5), f("ADD", 1.0, f("ERF", x))),
        lambda f, x: f("MUL", f("RELU6", f("ADD", x, 3.0)), 1 / 6),
        lambda f, x: f("MUL", f("ADD", x, 1.0), f("RELU6", f("ADD", x, 3.0))),
    ],
)
def test_what_only_looks_like_one_stays(formula: Formula) -> None:
    graph = _build(formula)
    before = list(graph.nodes)
    assert join_activations(graph) == 0
    assert graph.nodes == before


def test_a_part_that_others_read_stays() -> None:
    b = Builder("graph")
    x, f = b.input("x", DType.FLOAT32, (2, 3)), Formulas(b)
    ramp = f("RELU6", f("ADD", x, 3.0))
    b.graph.outputs = [f("MUL", f("MUL", x, ramp), 1 / 6), ramp]
    assert join_activations(b.graph) == 1
    check_graph(b.graph)
    assert [node.op for node in b.graph.nodes] == ["ADD", "RELU6", "HARD_SWISH"]


def test_a_factor_that_adds_an_axis_stays() -> None:
    b = Builder("graph")
    x, f = b.input("x", DType.FLOAT32, (2, 3)), Formulas(b)
    sixth = b.constant(np.full((1, 1, 1), 1 / 6, np.float32))
    b.graph.outputs = [f("MUL", f("MUL", x, f("RELU6", f("ADD", x, 3.0))), sixth)]
    assert join_activations(b.graph) == 0
    check_graph(b.graph)


def test_other_dtypes_stay() -> None:
    assert join_activations(_build(_hard_swish, DType.FLOAT16)) == 0
