"""Sizes that depend on named dims, computed from the shapes of the inputs when the model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from edgeconv.dims import Atom, DimExpr, Size, parse_size
from edgeconv.errors import ConversionError
from edgeconv.graph import Tensor
from edgeconv.graph.readings import find_readings

__all__ = ["Sizes"]

_FUNCTIONS: Mapping[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "floordiv": tf.math.floordiv,
    "mod": tf.math.floormod,
    "max": tf.maximum,
    "min": tf.minimum,
}


class Sizes:
    """Evaluates sizes to int32 scalars, each dim and each part of an expression once.

    Args:
        inputs: The graph's inputs.
        values: What TensorFlow passes for them.
    """

    def __init__(self, inputs: Sequence[Tensor], values: Sequence[tf.Tensor]) -> None:
        self._readings = find_readings(inputs)
        self._values = values
        self._known: dict[DimExpr, tf.Tensor] = {}

    def fork(self) -> Sizes:
        """Sizes for the body of a loop: what is computed there must not be used outside of it."""
        inner = Sizes((), self._values)
        inner._readings = self._readings
        inner._known = dict(self._known)
        return inner

    def scalar(self, size: Size) -> int | tf.Tensor:
        """The size: an integer where it is static.

        Raises:
            ConversionError: No input's shape gives one of its dims.
        """
        if isinstance(size, int):
            return size
        if size not in self._known:
            self._known[size] = self._compute(size)
        return self._known[size]

    def vector(self, sizes: Sequence[Size]) -> list[int] | tf.Tensor:
        """The sizes: a list where all are static, else an int32 vector.

        Raises:
            ConversionError: No input's shape gives one of their dims.
        """
        static = [size for size in sizes if isinstance(size, int)]
        if len(static) == len(sizes):
            return static
        return tf.stack([self.scalar(size) for size in sizes])

    def _compute(self, size: DimExpr) -> tf.Tensor:
        total: int | tf.Tensor = 0
        for monomial, factor in size.terms:
            value: int | tf.Tensor = factor
            for atom in monomial:
                part = self._atom(atom)
                value = part if isinstance(value, int) and value == 1 else value * part
            total = value if isinstance(total, int) and total == 0 else total + value
        return total

    def _atom(self, atom: Atom) -> tf.Tensor:
        if isinstance(atom, str):
            symbol = DimExpr.symbol(atom)
            if symbol not in self._known:
                self._known[symbol] = self._read(atom)
            return self._known[symbol]
        left, right = (self.scalar(parse_size(side)) for side in (atom.left, atom.right))
        return _FUNCTIONS[atom.function](left, right)

    def _read(self, name: str) -> tf.Tensor:
        reading = self._readings.get(name)
        if reading is None:
            raise ConversionError(
                f"the dynamic dim '{name}' has no value when the model runs",
                why="no input's shape gives it",
                hint="make the dim static, or let it be the size of an input's axis by itself",
            )
        size = tf.shape(self._values[reading.index])[reading.axis]
        if reading.offset:
            size = size - reading.offset
        return size if reading.factor == 1 else size // reading.factor
