"""Sizes of tensors: plain integers, or expressions over named dynamic dims.

A dynamic dim stays an expression from the signature of the PyTorch program to the shape arithmetic inside a
TFLite file. Expressions are kept in one canonical form (a polynomial with integer coefficients over atoms; an
atom is a name, or a floor division, remainder, minimum or maximum of expressions), so that equality of
expressions is equality of Python objects.

    >>> n = DimExpr.symbol("N")
    >>> (n * 4 + 8) // 4
    DimExpr('N + 2')
    >>> (n + n) == n * 2
    True
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

__all__ = [
    "Call",
    "DimExpr",
    "Size",
    "evaluate",
    "is_static",
    "maximum",
    "minimum",
    "parse_size",
    "product",
    "substitute",
    "symbols",
]


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """An operation that a polynomial cannot express: `floordiv`, `mod`, `max` or `min` of two sizes."""

    function: str
    left: str
    right: str


Atom: TypeAlias = "str | Call"
Monomial: TypeAlias = tuple[Atom, ...]

_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "max": max,
    "min": min,
}


def _atom_key(atom: Atom) -> tuple[int, str]:
    return (0, atom) if isinstance(atom, str) else (1, _atom_text(atom))


def _atom_text(atom: Atom) -> str:
    if isinstance(atom, str):
        return atom
    if atom.function in ("max", "min"):
        return f"{atom.function}({atom.left}, {atom.right})"
    sign = "//" if atom.function == "floordiv" else "%"
    return f"({_bracket(atom.left)}{sign}{_bracket(atom.right)})"


def _bracket(text: str) -> str:
    return text if text.isalnum() else f"({text})"


@dataclass(frozen=True, slots=True, repr=False)
class DimExpr:
    """A size that depends on named dynamic dims, in canonical form. Build it from `symbol` and operators."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def symbol(name: str) -> DimExpr:
        """The dim called `name`."""
        return DimExpr((((name,), 1),))

    def __add__(self, other: Size) -> Size:
        total = dict(self.terms)
        for monomial, factor in _terms(other):
            total[monomial] = total.get(monomial, 0) + factor
        return _canonical(total)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: int) -> Size:
        return (self * -1) + other

    def __mul__(self, other: Size) -> Size:
        total: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=_atom_key))
                total[monomial] = total.get(monomial, 0) + a * b
        return _canonical(total)

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        return _floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Size:
        return _floordiv(other, self)

    def __mod__(self, other: Size) -> Size:
        quotient = _floordiv(self, other)
        if _is_opaque(quotient, "floordiv"):
            return _call("mod", self, other)
        return self - quotient * other

    def __rmod__(self, other: int) -> Size:
        return _call("mod", other, self)

    def __str__(self) -> str:
        parts: list[str] = []
        for monomial, factor in self.terms:
            names = "*".join(_atom_text(atom) for atom in monomial)
            if not names:
                text = str(abs(factor))
            else:
                text = names if abs(factor) == 1 else f"{abs(factor)}*{names}"
            sign = ("-" if factor < 0 else "") if not parts else (" - " if factor < 0 else " + ")
            parts.append(sign + text)
        return "".join(parts)

    def __repr__(self) -> str:
        return f"DimExpr({str(self)!r})"


Size: TypeAlias = int | DimExpr


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, DimExpr) else (((), size),)


def _canonical(total: Mapping[Monomial, int]) -> Size:
    kept = [(monomial, factor) for monomial, factor in total.items() if factor]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    kept.sort(key=lambda term: (-len(term[0]), tuple(_atom_key(atom) for atom in term[0])))
    return DimExpr(tuple(kept))


def _call(function: str, left: Size, right: Size) -> Size:
    if isinstance(left, int) and isinstance(right, int):
        return _FUNCTIONS[function](left, right)
    return DimExpr((((Call(function, str(left), str(right)),), 1),))


def _is_opaque(size: Size, function: str) -> bool:
    return isinstance(size, DimExpr) and any(
        isinstance(atom, Call) and atom.function == function for m, _ in size.terms for atom in m
    )


def _floordiv(left: Size, right: Size) -> Size:
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if isinstance(right, int) and isinstance(left, DimExpr):
        return _divide_by_int(left, right)
    exact = _divide_exactly(left, right)
    return exact if exact is not None else _call("floordiv", left, right)


def _divide_by_int(left: DimExpr, right: int) -> Size:
    inner = _as_quotient(left)
    if inner is not None and right > 0:  # ((x // k) + c) // right = (x + c * k) // (k * right)
        numerator, divisor, shift = inner
        return (numerator + shift * divisor) // (divisor * right)
    whole = {m: f // right for m, f in left.terms if m and f % right == 0}
    rest = {m: f for m, f in left.terms if m and f % right}
    constant = dict(left.terms).get((), 0)
    if not rest:  # floor((k*right*x + c) / right) = k*x + floor(c / right), for every integer x
        return _canonical({**whole, (): constant // right})
    outside, inside = divmod(constant, right) if right > 0 else (0, constant)
    quotient = _call("floordiv", _canonical({**rest, (): inside}), right)
    return quotient + _canonical({**whole, (): outside})


def _as_quotient(size: DimExpr) -> tuple[Size, int, int] | None:
    """Numerator, divisor and shift of `numerator // divisor + shift`, the divisor being a positive integer."""
    terms = dict(size.terms)
    shift = terms.pop((), 0)
    match list(terms.items()):
        case [((Call(function="floordiv", left=left, right=right),), 1)] if right.isdigit():
            return parse_size(left), int(right), shift
        case _:
            return None


def _divide_exactly(left: Size, right: Size) -> Size | None:
    """`left / right` where `right` is one monomial that divides every term of `left`."""
    divisor = _terms(right)
    if len(divisor) != 1:
        return 1 if left == right else None
    monomial, factor = divisor[0]
    total: dict[Monomial, int] = {}
    for term, coefficient in _terms(left):
        remaining = list(term)
        for atom in monomial:
            if atom not in remaining:
                return None
            remaining.remove(atom)
        if coefficient % factor:
            return None
        total[tuple(remaining)] = coefficient // factor
    return _canonical(total)


def maximum(left: Size, right: Size) -> Size:
    """The larger of two sizes."""
    return left if left == right else _call("max", left, right)


def minimum(left: Size, right: Size) -> Size:
    """The smaller of two sizes."""
    return left if left == right else _call("min", left, right)


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes; 1 for none."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def is_static(sizes: Iterable[Size]) -> bool:
    """Whether all sizes are plain integers."""
    return all(isinstance(size, int) for size in sizes)


def symbols(size: Size) -> frozenset[str]:
    """The names of the dims that a size depends on."""
    if isinstance(size, int):
        return frozenset()
    names: set[str] = set()
    for atom in (atom for monomial, _ in size.terms for atom in monomial):
        if isinstance(atom, str):
            names.add(atom)
        else:
            names |= symbols(parse_size(atom.left)) | symbols(parse_size(atom.right))
    return frozenset(names)


def evaluate(size: Size, values: Mapping[str, int]) -> int:
    """The size as an integer, each named dim having the value given.

    Raises:
        KeyError: A dim of the size has no value.
    """
    if isinstance(size, int):
        return size
    return sum(factor * prod(_evaluate_atom(a, values) for a in m) for m, factor in size.terms)


def _evaluate_atom(atom: Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return values[atom]
    left, right = (evaluate(parse_size(side), values) for side in (atom.left, atom.right))
    return _FUNCTIONS[atom.function](left, right)


def substitute(size: Size, values: Mapping[str, Size]) -> Size:
    """The size with some named dims replaced by other sizes."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for monomial, factor in size.terms:
        total = product(_substitute_atom(atom, values) for atom in monomial) * factor + total
    return total


def _substitute_atom(atom: Atom, values: Mapping[str, Size]) -> Size:
    if isinstance(atom, str):
        return values.get(atom, DimExpr.symbol(atom))
    left, right = (substitute(parse_size(side), values) for side in (atom.left, atom.right))
    return _apply(atom.function, left, right)


def _apply(function: str, left: Size, right: Size) -> Size:
    match function:
        case "floordiv":
            return left // right
        case "mod":
            return left % right
        case "max":
            return maximum(left, right)
        case _:
            return minimum(left, right)


def parse_size(text: str) -> Size:
    """Read what `str` of a size writes, or a user's `N`, `16` or `(S + 1)//2`.

    Raises:
        ValueError: The text is not integer arithmetic over names.
    """
    try:
        return _parse(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError, ZeroDivisionError) as error:
        raise ValueError(f"not a size: {text[:80]!r}") from error


def _parse(node: ast.expr) -> Size:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return DimExpr.symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _parse(operand) * -1
        case ast.BinOp(left=left, op=operator, right=right):
            return _parse_binary(_parse(left), operator, _parse(right))
        case ast.Call(func=ast.Name(id="max" | "min" as name), args=[left, right]):
            return _apply(name, _parse(left), _parse(right))
        case _:
            raise ValueError(f"not a size: {ast.unparse(node)!r}")


def _parse_binary(left: Size, operator: ast.operator, right: Size) -> Size:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case _:
            raise ValueError(f"not a size operator: {type(operator).__name__}")
