"""Sizes: canonical form, arithmetic against plain integers, and the text form."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.dims import (
    DimExpr,
    Size,
    evaluate,
    maximum,
    minimum,
    parse_size,
    product,
    substitute,
    symbols,
)

N, S = DimExpr.symbol("N"), DimExpr.symbol("S")
_OPERATIONS: list[Callable[[Size, Size], Size]] = [
    operator.add,
    operator.sub,
    operator.mul,
    maximum,
    minimum,
]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[Size, Callable[[int, int], int]]:
    """An expression, and the same as a plain function of N and S."""
    if depth == 0 or draw(st.booleans()):
        leaf = draw(st.sampled_from(["N", "S", "constant"]))
        if leaf == "N":
            return N, lambda n, s: n
        if leaf == "S":
            return S, lambda n, s: s
        value = draw(st.integers(-9, 9))
        return value, lambda n, s: value
    left, f = draw(expressions(depth=depth - 1))
    if draw(st.booleans()):
        divisor = draw(st.integers(1, 7))
        if draw(st.booleans()):
            return left // divisor, lambda n, s: f(n, s) // divisor
        return left % divisor, lambda n, s: f(n, s) % divisor
    right, g = draw(expressions(depth=depth - 1))
    index = draw(st.integers(0, len(_OPERATIONS) - 1))
    functions: list[Callable[[int, int], int]] = [
        operator.add,
        operator.sub,
        operator.mul,
        max,
        min,
    ]
    plain = functions[index]
    return _OPERATIONS[index](left, right), lambda n, s: plain(f(n, s), g(n, s))


@given(expressions(), st.integers(0, 50), st.integers(0, 50))
def test_arithmetic_is_that_of_integers(
    pair: tuple[Size, Callable[[int, int], int]], n: int, s: int
) -> None:
    expression, plain = pair
    assert evaluate(expression, {"N": n, "S": s}) == plain(n, s)


@given(expressions())
def test_text_reads_back_as_the_same_size(pair: tuple[Size, Callable[[int, int], int]]) -> None:
    assert parse_size(str(pair[0])) == pair[0]


@given(expressions(), st.integers(0, 50), st.integers(0, 50))
def test_substitution_agrees_with_evaluation(
    pair: tuple[Size, Callable[[int, int], int]], n: int, s: int
) -> None:
    expression, plain = pair
    replaced = substitute(expression, {"N": S + n, "S": 2 * N})
    assert evaluate(replaced, {"N": n, "S": s}) == plain(s + n, 2 * n)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (N + N, 2 * N),
        ((N * 4 + 8) // 4, N + 2),
        ((N * S * 6) // (N * 2), S * 3),
        ((N * 4 + 2) % 4, 2),
        (N - N, 0),
        (maximum(N, N), N),
        ((2 * N + S) // 2, N + S // 2),
    ],
)
def test_equal_sizes_have_one_form(left: Size, right: Size) -> None:
    assert left == right


def test_different_sizes_differ() -> None:
    assert N + 1 != N
    assert N // 2 != N % 2
    assert maximum(N, 1) != minimum(N, 1)


def test_symbols_are_found_inside_calls() -> None:
    assert symbols((N + S) // 2 * 3) == {"N", "S"}
    assert symbols(7) == frozenset()


def test_product_of_nothing_is_one() -> None:
    assert product(()) == 1


@pytest.mark.parametrize("text", ["", "N +", "N / 2", "f(N)", "N ** 2", "'N'", "True"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_a_missing_value_is_refused() -> None:
    with pytest.raises(KeyError):
        evaluate(N + S, {"N": 1})
