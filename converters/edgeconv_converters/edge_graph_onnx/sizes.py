"""Sizes that depend on named dims, computed from the shapes of the inputs when the model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.dims import Atom, DimExpr, Size, parse_size
from edgeconv.errors import ConversionError
from edgeconv.graph.readings import Reading
from edgeconv_converters.edge_graph_onnx.emitter import Emitter

__all__ = ["Sizes"]


class Sizes:
    """Evaluates sizes to int64 vectors of one element, each dim and each part of an expression once.

    Args:
        emitter: Of the graph that reads them.
        inputs: Names of the model's inputs.
        readings: Where each dim is read.
    """

    def __init__(
        self, emitter: Emitter, inputs: Sequence[str], readings: Mapping[str, Reading]
    ) -> None:
        self._emitter = emitter
        self._inputs = inputs
        self._readings = readings
        self._known: dict[DimExpr, str] = {}

    def fork(self, emitter: Emitter) -> Sizes:
        """Sizes for a body, which sees what was computed around it; what is computed there is not seen outside."""
        inner = Sizes(emitter, self._inputs, self._readings)
        inner._known = dict(self._known)
        return inner

    def vector(self, sizes: Sequence[Size]) -> str:
        """The sizes as a vector.

        Raises:
            ConversionError: No input's shape gives one of their dims.
        """
        static = [size for size in sizes if isinstance(size, int)]
        if len(static) == len(sizes):
            return self._emitter.integers(static)
        parts = [self.one(size) for size in sizes]
        return parts[0] if len(parts) == 1 else self._emitter.op("Concat", *parts, axis=0)

    def scalar(self, size: Size) -> str:
        """The size as a scalar.

        Raises:
            ConversionError: No input's shape gives one of its dims.
        """
        if isinstance(size, int):
            return self._emitter.integer(size)
        return self._emitter.op("Squeeze", self.one(size), self._emitter.integers([0]))

    def one(self, size: Size) -> str:
        """The size as a vector of one element.

        Raises:
            ConversionError: No input's shape gives one of its dims.
        """
        if isinstance(size, int):
            return self._emitter.integers([size])
        if size not in self._known:
            self._known[size] = self._compute(size)
        return self._known[size]

    def _compute(self, size: DimExpr) -> str:
        total = ""
        for monomial, factor in size.terms:
            value = "" if factor == 1 and monomial else self._emitter.integers([factor])
            for atom in monomial:
                part = self._atom(atom)
                value = self._emitter.op("Mul", value, part) if value else part
            total = self._emitter.op("Add", total, value) if total else value
        return total

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, str):
            symbol = DimExpr.symbol(atom)
            if symbol not in self._known:
                self._known[symbol] = self._read(atom)
            return self._known[symbol]
        left, right = (self.one(parse_size(side)) for side in (atom.left, atom.right))
        match atom.function:
            case "max":
                return self._emitter.op("Max", left, right)
            case "min":
                return self._emitter.op("Min", left, right)
            case "mod":
                return self._emitter.op("Mod", left, right)
        return self._floor_divide(left, right)

    def _floor_divide(self, left: str, right: str) -> str:
        """ONNX divides towards zero: the remainder, which has the sign of the divisor, is taken off first."""
        rest = self._emitter.op("Mod", left, right)
        return self._emitter.op("Div", self._emitter.op("Sub", left, rest), right)

    def _read(self, name: str) -> str:
        reading = self._readings.get(name)
        if reading is None:
            raise ConversionError(
                f"the dynamic dim '{name}' has no value when the model runs",
                why="no input's shape gives it",
                hint="make the dim static, or let it be the size of an input's axis by itself",
            )
        axis = reading.axis
        size = self._emitter.op("Shape", self._inputs[reading.index], start=axis, end=axis + 1)
        if reading.offset:
            size = self._emitter.op("Sub", size, self._emitter.integers([reading.offset]))
        if reading.factor == 1:
            return size
        return self._emitter.op("Div", size, self._emitter.integers([reading.factor]))
