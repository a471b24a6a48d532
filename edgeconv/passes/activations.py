"""Finds the activations that a model writes out as a formula, for which kernels have an operator.

A formula is told by what it computes, not by how it is written: everything between the activation's input x, the function
in its middle (a hyperbolic tangent, say) and its result is a polynomial, and two polynomials are equal where their
coefficients are, in whatever order a model multiplies and adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.builder import make_node
from edgeconv.graph.model import Attribute
from edgeconv.signature import DType

__all__ = ["join_activations"]

# Coefficients by the powers of x and of the function's value.
_Polynomial = Mapping[tuple[int, int], float]

_TOLERANCE = 1e-5
# Beyond them no formula below is written out.
_MAX_DEPTH = 8
_MAX_DEGREE = 4
_ONE = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Formula:
    """An activation: `result` is a polynomial in x and `function(argument)`, and `argument` is one in x."""

    function: str
    argument: _Polynomial
    result: _Polynomial
    op: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


_SLOPE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _SLOPE
_HALVES = {(1, 0): 0.5, (1, 1): 0.5}
# Sources: Hendrycks, Gimpel, "Gaussian Error Linear Units"; Howard et al., "Searching for MobileNetV3".
_FORMULAS = (
    _Formula(
        function="TANH",
        argument={(1, 0): _SLOPE, (3, 0): _CUBIC},
        result=_HALVES,
        op="GELU",
        attributes={"approximate": True},
    ),
    # The same: (1 + tanh(z)) / 2 is the logistic function of 2z.
    _Formula(
        function="LOGISTIC",
        argument={(1, 0): 2 * _SLOPE, (3, 0): 2 * _CUBIC},
        result={(1, 1): 1},
        op="GELU",
        attributes={"approximate": True},
    ),
    _Formula(
        function="ERF",
        argument={(1, 0): math.sqrt(0.5)},
        result=_HALVES,
        op="GELU",
        attributes={"approximate": False},
    ),
    _Formula(
        function="RELU6",
        argument={(1, 0): 1, _ONE: 3},
        result={(1, 1): 1 / 6},
        op="HARD_SWISH",
    ),
)
_FUNCTIONS = frozenset(formula.function for formula in _FORMULAS)


def join_activations(graph: Graph) -> int:
    """Replace formulas in float32 by their operators.

    Returns:
        The number of formulas.
    """
    functions = [node for node in graph.nodes if node.op in _FUNCTIONS]
    if not functions:
        return 0
    walk = _Walk(producers=graph.producers(), consumers=graph.consumers())
    joined = [found for node in functions if (found := walk.match(node))]
    for last, activation in joined:
        graph.nodes[graph.nodes.index(last)] = activation
    graph.remove_dead_nodes()
    return len(joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Looks for formulas around a function."""

    producers: Mapping[Tensor, Node]
    consumers: Mapping[Tensor, Sequence[Node]]

    def match(self, function: Node) -> tuple[Node, Node] | None:
        """The last node of a formula around `function`, and what takes its place."""
        if function.output.dtype != DType.FLOAT32:
            return None
        formulas = [formula for formula in _FORMULAS if formula.function == function.op]
        for x in self._before(function.input(0)):
            argument = self._polynomial(function.input(0), x, None)
            for formula in formulas:
                if argument is None or not _are_equal(argument, formula.argument):
                    continue
                for last in self._behind(function.output):
                    result = self._polynomial(last.output, x, function.output)
                    if result is not None and _are_equal(result, formula.result):
                        return last, _activation(formula, x, last)
        return None

    def _before(self, tensor: Tensor, depth: int = 0) -> Iterator[Tensor]:
        """What `tensor` may be a polynomial of: all of the same shape that it is computed from, nearest first."""
        yield tensor
        node = self.producers.get(tensor)
        if node is None or depth == _MAX_DEPTH or node.op not in _ARITHMETIC:
            return
        for read in dict.fromkeys(node.inputs):
            if read is not None and not read.is_constant and read.shape == tensor.shape:
                yield from self._before(read, depth + 1)

    def _behind(self, tensor: Tensor, depth: int = 0) -> Iterator[Node]:
        """The arithmetic that reads `tensor`, or what comes of it, nearest first; all of one shape."""
        for node in self.consumers.get(tensor, ()):
            is_arithmetic = node.op in _ARITHMETIC and depth < _MAX_DEPTH
            if is_arithmetic and node.output.shape == tensor.shape:
                yield node
                yield from self._behind(node.output, depth + 1)

    def _polynomial(
        self, tensor: Tensor, x: Tensor, value: Tensor | None, depth: int = 0
    ) -> _Polynomial | None:
        """The polynomial in `x` and `value` that `tensor` is; None if it is none."""
        if tensor is x:
            return {(1, 0): 1.0}
        if tensor is value:
            return {(0, 1): 1.0}
        if tensor.constant is not None:
            return {_ONE: float(tensor.constant.item())} if tensor.constant.size == 1 else None
        node = self.producers.get(tensor)
        if node is None or node.op not in _ARITHMETIC or depth == _MAX_DEPTH:
            return None
        if node.attributes.get("fused_activation_function", "NONE") != "NONE":
            return None
        parts = [self._polynomial(read, x, value, depth + 1) for read in node.inputs if read]
        known = [part for part in parts if part is not None]
        return _ARITHMETIC[node.op](*known) if len(known) == len(parts) else None


def _activation(formula: _Formula, x: Tensor, last: Node) -> Node:
    node = make_node(
        formula.op,
        [x],
        names=[last.output.name],
        attributes=dict(formula.attributes),
        source=last.source,
    )
    node.outputs = last.outputs
    return node


def _are_equal(left: _Polynomial, right: _Polynomial) -> bool:
    return left.keys() == right.keys() and all(
        math.isclose(left[power], right[power], rel_tol=_TOLERANCE) for power in left
    )


def _add(left: _Polynomial, right: _Polynomial) -> _Polynomial:
    return {power: left.get(power, 0) + right.get(power, 0) for power in {**left, **right}}


def _scale(polynomial: _Polynomial, factor: float) -> _Polynomial:
    return {power: factor * value for power, value in polynomial.items()}


def _multiply(left: _Polynomial, right: _Polynomial) -> _Polynomial | None:
    product: dict[tuple[int, int], float] = {}
    for (x, value), factor in left.items():
        for (other_x, other_value), other in right.items():
            power = (x + other_x, value + other_value)
            product[power] = product.get(power, 0) + factor * other
    return product if all(x + value <= _MAX_DEGREE for x, value in product) else None


def _subtract(left: _Polynomial, right: _Polynomial) -> _Polynomial:
    return _add(left, _scale(right, -1))


def _divide(left: _Polynomial, right: _Polynomial) -> _Polynomial | None:
    divisor = right.get(_ONE, 0)
    return _scale(left, 1 / divisor) if right.keys() == {_ONE} and divisor else None


def _square(polynomial: _Polynomial) -> _Polynomial | None:
    return _multiply(polynomial, polynomial)


def _negate(polynomial: _Polynomial) -> _Polynomial:
    return _scale(polynomial, -1)


_ARITHMETIC: Mapping[str, Callable[..., _Polynomial | None]] = {
    "ADD": _add,
    "DIV": _divide,
    "MUL": _multiply,
    "NEG": _negate,
    "SQUARE": _square,
    "SUB": _subtract,
}
