"""Sizes as tensors: what depends on a named dynamic dim is computed from the shape of an input when the model runs.

TFLite computes all of it while it allocates tensors, once per change of an input's size and not once per run,
as long as only operators are used that it evaluates that early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.dims import Call, DimExpr, Size, parse_size
from edgeconv.errors import ConversionError
from edgeconv.graph import Tensor
from edgeconv.signature import DType
from edgeconv_converters.edge_graph_tflite.program import Constants, Names, Operator, OptionValue

__all__ = ["SizeTensors", "find_reading"]

_CALLS = {"floordiv": "FLOOR_DIV", "mod": "FLOOR_MOD", "max": "MAXIMUM", "min": "MINIMUM"}


def find_reading(symbol: str, inputs: Sequence[Tensor]) -> tuple[Tensor, int, int, int] | None:
    """Where a dim can be read: an input, an axis, and (offset, factor), its size being `factor * dim + offset`."""
    wanted = DimExpr.symbol(symbol)
    for tensor in inputs:
        if wanted in tensor.shape:
            return tensor, tensor.shape.index(wanted), 0, 1
    for tensor in inputs:
        for axis, size in enumerate(tensor.shape):
            linear = _as_linear(size, symbol)
            if linear is not None:
                return tensor, axis, *linear
    return None


def _as_linear(size: Size, symbol: str) -> tuple[int, int] | None:
    if not isinstance(size, DimExpr):
        return None
    terms = dict(size.terms)
    factor, offset = terms.pop((symbol,), 0), terms.pop((), 0)
    return None if terms or not factor else (offset, factor)


class SizeTensors:
    """Makes tensors of sizes, each expression once per program.

    Args:
        inputs: The program's inputs, from whose shapes dims are read.
        operators: Where operators are appended.
        constants: Of the same program.
        names: Of the whole file.
        known: Dims that are already tensors.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        operators: list[Operator],
        constants: Constants,
        names: Names,
        *,
        known: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._inputs = inputs
        self._operators = operators
        self._constants = constants
        self._names = names
        self._scalars: dict[DimExpr, Tensor] = {
            size: tensor
            for name, tensor in (known or {}).items()
            if isinstance(size := DimExpr.symbol(name), DimExpr)
        }
        self._shapes: dict[Tensor, Tensor] = {}
        self._vectors: dict[tuple[Size, ...], Tensor] = {}

    def scalar(self, size: Size, dtype: DType = DType.INT32) -> Tensor:
        """A scalar that holds a size.

        Raises:
            ConversionError: A dim of it cannot be read from any input.
        """
        if isinstance(size, int):
            return self._constants.scalar(size, dtype)
        tensor = self._scalar(size)
        if dtype == DType.INT32:
            return tensor
        options: dict[str, OptionValue] = {"inDataType": "int32", "outDataType": dtype.value}
        return self._emit("CAST", [tensor], shape=(), dtype=dtype, options=options)

    def vector(self, sizes: tuple[Size, ...]) -> Tensor:
        """A vector of sizes.

        Raises:
            ConversionError: A dim of one of them cannot be read from any input.
        """
        static = tuple(size for size in sizes if isinstance(size, int))
        if len(static) == len(sizes):
            return self._constants.integers(static)
        if sizes not in self._vectors:
            scalars = [self.scalar(size) for size in sizes]
            options: dict[str, OptionValue] = {"valuesCount": len(scalars), "axis": 0}
            self._vectors[sizes] = self._emit(
                "PACK", scalars, shape=(len(scalars),), options=options
            )
        return self._vectors[sizes]

    def matrix(self, rows: tuple[tuple[Size, ...], ...]) -> Tensor:
        """A matrix of sizes.

        Raises:
            ConversionError: A dim of one of them cannot be read from any input.
        """
        vectors = [self.vector(row) for row in rows]
        options: dict[str, OptionValue] = {"valuesCount": len(rows), "axis": 0}
        return self._emit("PACK", vectors, shape=(len(rows), len(rows[0])), options=options)

    def _scalar(self, size: DimExpr) -> Tensor:
        if size not in self._scalars:
            self._scalars[size] = self._compute(size)
        return self._scalars[size]

    def _compute(self, size: DimExpr) -> Tensor:
        match size.terms:
            case (((str(symbol),), 1),):
                return self._read(symbol)
            case (((Call(function=function, left=left, right=right),), 1),):
                sides = [self.scalar(parse_size(side)) for side in (left, right)]
                return self._emit(_CALLS[function], sides, shape=())
            case ((monomial, factor),):
                return self._multiply(monomial, factor)
            case terms:
                head, last = DimExpr(terms[:-1]), DimExpr(terms[-1:])
                return self._add(head, last)

    def _multiply(self, monomial: tuple[str | Call, ...], factor: int) -> Tensor:
        if factor != 1:
            sides = [self._scalar(DimExpr(((monomial, 1),))), self._constants.scalar(factor)]
        else:
            head, last = DimExpr(((monomial[:-1], 1),)), DimExpr(((monomial[-1:], 1),))
            sides = [self._scalar(head), self._scalar(last)]
        return self._emit("MUL", sides, shape=(), options={"fusedActivationFunction": "NONE"})

    def _add(self, head: DimExpr, last: DimExpr) -> Tensor:
        ((monomial, factor),) = last.terms
        right = self._scalar(last) if monomial else self._constants.scalar(factor)
        options: dict[str, OptionValue] = {"fusedActivationFunction": "NONE"}
        return self._emit("ADD", [self._scalar(head), right], shape=(), options=options)

    def _read(self, symbol: str) -> Tensor:
        reading = find_reading(symbol, self._inputs)
        if reading is None:
            shapes = ", ".join(repr(tensor) for tensor in self._inputs)
            raise ConversionError(
                f"the dynamic dim '{symbol}' has no value when the model runs",
                why=f"no input's shape gives it: {shapes}",
                hint="make the dim static, or let it be a size of an input by itself",
            )
        tensor, axis, offset, factor = reading
        size = self._emit(
            "GATHER",
            [self._shape(tensor), self._constants.scalar(axis)],
            shape=(),
            options={"axis": 0, "batchDims": 0},
        )
        if offset:
            options: dict[str, OptionValue] = {"fusedActivationFunction": "NONE"}
            size = self._emit(
                "ADD", [size, self._constants.scalar(-offset)], shape=(), options=options
            )
        if factor == 1:
            return size
        return self._emit("FLOOR_DIV", [size, self._constants.scalar(factor)], shape=())

    def _shape(self, tensor: Tensor) -> Tensor:
        if tensor not in self._shapes:
            self._shapes[tensor] = self._emit(
                "SHAPE", [tensor], shape=(tensor.rank,), options={"outType": "int32"}
            )
        return self._shapes[tensor]

    def _emit(
        self,
        code: str,
        inputs: Sequence[Tensor],
        *,
        shape: tuple[int, ...],
        dtype: DType = DType.INT32,
        options: dict[str, OptionValue] | None = None,
    ) -> Tensor:
        output = Tensor(name=self._names.take(f"size/{code.lower()}"), dtype=dtype, shape=shape)
        self._operators.append(
            Operator(code=code, inputs=list(inputs), outputs=[output], options=options or {})
        )
        return output
