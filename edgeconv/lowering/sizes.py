"""Symbolic sizes of a PyTorch program as sizes over the named dims of the signature.

PyTorch names the symbols of an exported program itself (`s17`); the signature knows them by the names the user
gave (`N`). Both the capture step, which describes outputs, and the lowering, which describes every tensor,
need one translation from the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Literal, TypeAlias

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from edgeconv.dims import (
    DimExpr,
    Size,
    maximum,
    minimum,
    parse_size,
    product,
)
from edgeconv.errors import ConversionError
from edgeconv.signature import Signature

__all__ = ["TorchSize", "size_from_torch", "symbol_names", "user_placeholders"]

_Rounding: TypeAlias = Literal["floor", "ceil"]
TorchSize: TypeAlias = "int | torch.SymInt | sympy.Expr"


def size_from_torch(value: TorchSize, names: Mapping[str, str]) -> Size:
    """A size of a PyTorch program in terms of named dims.

    Args:
        value: An integer, a `SymInt` from a node's metadata, or its expression.
        names: What each symbol of the program is called, as `symbol_names` returns it.

    Raises:
        ConversionError: The size depends on the values of tensors, or on arithmetic that sizes do not have.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, torch.SymInt):
        value = value.node.expr
    return _convert(sympy.sympify(value), names)


def symbol_names(program: ExportedProgram, signature: Signature) -> dict[str, str]:
    """The dim that each symbol in the shapes of the program's inputs stands for.

    Args:
        program: The exported program.
        signature: Its signature; inputs in the order of the program's user inputs.

    Returns:
        Symbol name to dim name; to an expression of dim names where the program's input has a symbol of its
        own for what the signature writes as an expression.
    """
    placeholders = user_placeholders(program)
    names: dict[str, str] = {}
    for spec, node in zip(signature.inputs, placeholders, strict=True):
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        for declared, actual in zip(spec.shape, value.shape, strict=True):
            if isinstance(actual, torch.SymInt) and not isinstance(declared, int):
                _match(declared, actual.node.expr, names)
    return names


def user_placeholders(program: ExportedProgram) -> list[torch.fx.Node]:
    """The nodes of the program's user inputs, in order."""
    wanted = [
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind == InputKind.USER_INPUT
    ]
    by_name = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return [by_name[name] for name in wanted]


def _match(declared: DimExpr, actual: sympy.Expr, names: dict[str, str]) -> None:
    """Solve `declared == actual` for the one symbol of `actual`, where it is a*symbol + b."""
    free = sorted(actual.free_symbols, key=str)
    if len(free) != 1 or free[0].name in names:
        return
    symbol = free[0]
    slope = actual.coeff(symbol, 1)
    offset = sympy.expand(actual - slope * symbol)
    if not (slope.is_Integer and offset.is_Integer):
        return
    shifted: Size = declared - int(offset)
    factors = [shifted] if isinstance(shifted, int) else [f for _, f in shifted.terms]
    if all(factor % int(slope) == 0 for factor in factors):
        names[symbol.name] = str(shifted // int(slope))


def _convert(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    if isinstance(value, sympy.Integer):
        return int(value)
    if isinstance(value, sympy.Symbol):
        return _convert_symbol(value, names)
    convert = _CONVERSIONS.get(type(value).__name__)
    if convert is None:
        raise _unsupported(value)
    return convert(value, names)


def _convert_symbol(symbol: sympy.Symbol, names: Mapping[str, str]) -> Size:
    if symbol.name in names:
        return parse_size(names[symbol.name])
    raise ConversionError(
        f"the size '{symbol.name}' is not known before the model runs",
        why="it depends on the values of a tensor, as the result of nonzero, of a boolean mask or of item() does",
        hint="return tensors whose shapes follow from the shapes of the inputs, e.g. top-k and a count",
    )


def _unsupported(value: sympy.Basic) -> ConversionError:
    return ConversionError(
        f"the size '{value}' cannot be written down",
        why=f"sizes have no '{type(value).__name__}'",
        hint="compute it with +, -, *, // and % on the sizes of the inputs",
    )


def _convert_all(value: sympy.Basic, names: Mapping[str, str]) -> list[Size]:
    return [_convert(argument, names) for argument in value.args]


def _convert_sum(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    total: Size = 0
    for term in _convert_all(value, names):
        total = term + total
    return total


def _convert_product(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    return product(_convert_all(value, names))


def _convert_power(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    base, exponent = value.args
    if not (isinstance(exponent, sympy.Integer) and 0 <= int(exponent) <= 8):
        raise _unsupported(value)
    return product([_convert(base, names)] * int(exponent))


def _convert_floordiv(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    left, right = _convert_all(value, names)
    return left // right


def _convert_ceildiv(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    left, right = _convert_all(value, names)
    return ((left * -1) // right) * -1


def _convert_mod(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    left, right = _convert_all(value, names)
    return left % right


def _convert_modular_index(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    base, divisor, modulus = _convert_all(value, names)
    return (base // divisor) % modulus


def _fold(
    combine: Callable[[Size, Size], Size],
) -> Callable[[sympy.Basic, Mapping[str, str]], Size]:
    def convert(value: sympy.Basic, names: Mapping[str, str]) -> Size:
        first, *others = _convert_all(value, names)
        for other in others:
            first = combine(first, other)
        return first

    return convert


# Factors whose products with sizes are exact in floating point, as those are that PyTorch computes with.
_MAX_DENOMINATOR = 1 << 16
# Of other factors, such as 1.3, the fraction that they stand for has to give the same sizes up to this one.
_MAX_SCALED_DENOMINATOR = 1000
_LARGEST_SCALED_SIZE = 1 << 16


def _convert_floor(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    """`floor` or truncation of a quotient of two sizes, or of a size times a number such as 0.5.

    A size is never negative, so both agree.
    """
    (inner,) = value.args
    numerator, denominator = _fraction(inner, names, "floor")
    return numerator // denominator


def _convert_ceil(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    numerator, denominator = _fraction(value.args[0], names, "ceil")
    return -(-numerator // denominator)


def _fraction(
    value: sympy.Basic, names: Mapping[str, str], rounding: _Rounding
) -> tuple[Size, Size]:
    kind = type(value).__name__
    if kind == "ToFloat":
        return _convert(value.args[0], names), 1
    if kind in {"IntTrueDiv", "FloatTrueDiv"}:
        parts = [_fraction(side, names, rounding) for side in value.args]
        (top, below), (divisor, over) = parts
        return top * over, below * divisor
    if isinstance(value, sympy.Float):
        exact = Fraction(float(value))
        if exact.denominator > _MAX_DENOMINATOR:
            raise _unsupported(value)
        return exact.numerator, exact.denominator
    if isinstance(value, sympy.Integer):
        return int(value), 1
    if kind == "Mul":
        factors = [_factor(side, names, rounding) for side in value.args]
        return product(top for top, _ in factors), product(below for _, below in factors)
    numerator, denominator = value.as_numer_denom()
    return _convert(sympy.expand(numerator), names), _convert(denominator, names)


def _factor(value: sympy.Basic, names: Mapping[str, str], rounding: _Rounding) -> tuple[Size, Size]:
    """As `_fraction`, of a factor of a product: here a number may stand for a fraction that gives the same sizes."""
    if not isinstance(value, sympy.Float) or Fraction(float(value)).denominator <= _MAX_DENOMINATOR:
        return _fraction(value, names, rounding)
    scale = float(value)
    near = Fraction(scale).limit_denominator(_MAX_SCALED_DENOMINATOR)
    if not _scales_alike(scale, near, rounding):
        raise ConversionError(
            f"the size '{scale} * size' cannot be written down",
            why=f"sizes are whole numbers, and no fraction gives all sizes that PyTorch gets with {scale}",
            hint="scale by a fraction such as 0.5, 1.25 or 1.3, or give this dim one size",
        )
    return near.numerator, near.denominator


def _scales_alike(scale: float, fraction: Fraction, rounding: _Rounding) -> bool:
    """Whether every size times the number, in double precision, is rounded to what its product with the fraction is."""
    sizes = torch.arange(_LARGEST_SCALED_SIZE)
    scaled = sizes.double() * scale
    if rounding == "ceil":
        scaled, sizes = -scaled, -sizes
    exact = torch.div(sizes * fraction.numerator, fraction.denominator, rounding_mode="floor")
    return bool((scaled.floor() == exact).all())


def _convert_identity(value: sympy.Basic, names: Mapping[str, str]) -> Size:
    return _convert(value.args[0], names)


_CONVERSIONS: Mapping[str, Callable[[sympy.Basic, Mapping[str, str]], Size]] = {
    "Add": _convert_sum,
    "Mul": _convert_product,
    "Pow": _convert_power,
    "PowByNatural": _convert_power,
    "FloorDiv": _convert_floordiv,
    "CleanDiv": _convert_floordiv,
    "CeilDiv": _convert_ceildiv,
    "Mod": _convert_mod,
    "PythonMod": _convert_mod,
    "ModularIndexing": _convert_modular_index,
    "Max": _fold(maximum),
    "Min": _fold(minimum),
    "floor": _convert_floor,
    "FloorToInt": _convert_floor,
    "CeilToInt": _convert_ceil,
    "ceiling": _convert_ceil,
    "TruncToInt": _convert_floor,
    "Identity": _convert_identity,
}
