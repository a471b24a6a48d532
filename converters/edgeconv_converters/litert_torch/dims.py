"""Gives a TFLite file that was converted at fixed sizes its dynamic dims back.

litert-torch 0.10 takes dynamic shapes, but most of its translations fail on them, and some keep the example's size without
a word. So a program is converted at fixed sizes, once more with each dim at another size, and what differs between the
files is what depends on the dim: sizes of tensors, and constants. The former are declared open. A constant that holds sizes
gets `-1` where that says the same, or is computed from the size of an input; one that repeats itself loses the axis; a table,
of positions for example, is kept at the largest size and cut. What depends on a dim in another way keeps it from being
dynamic, and is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import FailureKind, StepError
from edgeconv.formats.tflite_stamp import pack_model, unpack_model
from edgeconv_converters.litert_torch.computed import SizeArithmetic, Term
from edgeconv_converters.litert_torch.tables import (
    Array,
    operator_name,
    outline,
    put_constant,
    read_constant,
    shape_of,
)

__all__ = ["Variant", "free_dims"]

_MAX_DETAILS = 20
# Where a constant that is the same all along an axis may as well have a size of 1 there.
_BROADCASTING = frozenset(
    [
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "MAXIMUM",
        "MINIMUM",
        "POW",
        "SQUARED_DIFFERENCE",
        "FLOOR_DIV",
        "FLOOR_MOD",
        "SELECT_V2",
        "EQUAL",
        "NOT_EQUAL",
        "LESS",
        "LESS_EQUAL",
        "GREATER",
        "GREATER_EQUAL",
        "LOGICAL_AND",
        "LOGICAL_OR",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The same program converted with one dim at another size.

    Attributes:
        dim: Name of the dim.
        path: The file.
        input: Index of an input that shows the dim.
        axis: The axis of that input.
        base: The size of that axis in the base file.
        size: Its size in this file.
        is_largest: Whether the dim can have no larger size.
    """

    dim: str
    path: Path
    input: int
    axis: int
    base: int
    size: int
    is_largest: bool


def free_dims(path: Path, variants: Sequence[Variant], shapes: Sequence[Sequence[int]]) -> None:
    """Make dims dynamic in a file, which is rewritten.

    Args:
        path: The base file; its inputs are in the order of the model's.
        variants: One for each dim.
        shapes: Shapes of the inputs for the file to declare, besides that they are open.

    Raises:
        StepError: Something depends on a dim in a way that cannot be undone; all of it is told.
    """
    model = unpack_model(path)
    others = [unpack_model(variant.path) for variant in variants]
    problems = [
        f"other operators are written for another '{variant.dim}'"
        for variant, other in zip(variants, others, strict=True)
        if outline(other) != outline(model)
    ]
    if problems:
        raise _refusal(
            variants, problems, "give --input fixed sizes, or let another route have the model"
        )
    for index in range(len(model.subgraphs)):
        problems += _Subgraph(model, others, variants, index).free()
    if problems:
        raise _refusal(
            variants, problems, "give the dims a range in --input, such as S=1..128, or fixed sizes"
        )
    graph = model.subgraphs[0]
    for index, shape in zip(graph.inputs, shapes, strict=True):
        graph.tensors[index].shape = list(shape)
    pack_model(model, path)


def _refusal(variants: Sequence[Variant], problems: Sequence[str], hint: str) -> StepError:
    names = ", ".join(f"'{variant.dim}'" for variant in variants)
    return StepError(
        f"litert-torch cannot keep {names} dynamic",
        kind=FailureKind.UNSUPPORTED_OPS,
        why="it converts at fixed sizes, and what it writes depends on them",
        hint=hint,
        details=list(dict.fromkeys(problems))[:_MAX_DETAILS],
    )


class _Subgraph:
    """One subgraph of the base file and of its variants.

    Args:
        model: The base file, which is changed.
        others: The variants' files.
        variants: What they are.
        index: Of the subgraph.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - untyped library
        others: Sequence[Any],
        variants: Sequence[Variant],
        index: int,
    ) -> None:
        self._model = model
        self._others = others
        self._variants = variants
        self._graph = model.subgraphs[index]
        self._graphs = [other.subgraphs[index] for other in others]
        # Only the main graph's inputs are the model's, whose sizes are known.
        self._arithmetic = SizeArithmetic(model, self._graph) if index == 0 else None
        self._shapes = [shape_of(tensor) for tensor in self._graph.tensors]
        self._constants = [read_constant(model, tensor) for tensor in self._graph.tensors]
        self._readers: dict[int, list[tuple[Any, int]]] = defaultdict(list)
        for operator in self._graph.operators:
            for position, tensor in enumerate(operator.inputs):
                self._readers[int(tensor)].append((operator, position))

    def free(self) -> list[str]:
        """Change what depends on a dim; returns what cannot be changed."""
        problems = []
        for index, values in enumerate(self._constants):
            if values is None:
                self._open(index)
            elif problem := self._free_constant(index, values):
                problems.append(problem)
        if self._arithmetic is not None:
            self._arithmetic.finish()
        return problems

    def _open(self, index: int) -> None:
        """Declare the sizes of a computed tensor that differ as open; as TensorFlow does, with 1 for the moment."""
        tensor = self._graph.tensors[index]
        shapes = [self._shapes[index], *(shape_of(g.tensors[index]) for g in self._graphs)]
        varies = (np.array(shapes) != shapes[0]).any(0)
        if varies.any():
            tensor.shape = np.where(varies, 1, shapes[0]).tolist()
            tensor.shapeSignature = np.where(varies, -1, shapes[0]).tolist()

    def _free_constant(self, index: int, values: Array) -> str | None:
        """Free a constant of a dim; returns why that cannot be."""
        pairs = [
            (variant, read_constant(other, graph.tensors[index]))
            for variant, other, graph in zip(
                self._variants, self._others, self._graphs, strict=True
            )
        ]
        differing = [
            variant.dim
            for variant, other in pairs
            if other is None or other.shape != values.shape or not np.array_equal(other, values)
        ]
        found = [(variant, other) for variant, other in pairs if other is not None]
        if not differing:
            return None
        if len(found) == len(pairs) and (
            self._shrink(index, values, [other for _, other in found])
            or self._follow(index, values, found)
            or self._cut(index, values, found)
        ):
            return None
        names = sorted({operator_name(self._model, op) for op, _ in self._readers[index]})
        dims = " and ".join(f"'{dim}'" for dim in differing)
        return f"{', '.join(names)}: a constant of shape {list(values.shape)} depends on {dims}"

    def _shrink(self, index: int, values: Array, found: Sequence[Array]) -> bool:
        """Cut a constant that repeats along the axes whose sizes differ to a size of 1 there."""
        names = {operator_name(self._model, operator) for operator, _ in self._readers[index]}
        if not names <= _BROADCASTING or any(other.ndim != values.ndim for other in found):
            return False
        small = values
        for axis in range(values.ndim):
            if any(other.shape[axis] != values.shape[axis] for other in found):
                small = small.take([0], axis)
        if not all(np.array_equal(o, np.broadcast_to(small, o.shape)) for o in (values, *found)):
            return False
        put_constant(self._model, self._graph.tensors[index], np.ascontiguousarray(small))
        return True

    def _follow(self, index: int, values: Array, found: Sequence[tuple[Variant, Array]]) -> bool:
        """Replace a vector of sizes by one that follows the inputs."""
        terms = _find_terms(values, found)
        if terms is None:
            return False
        varies = np.any([term.factors != 0 for term in terms], axis=0)
        readers = self._readers[index]
        if all(self._takes_unknown(op, place, values, varies) for op, place in readers):
            unknown = np.where(varies, -1, values).astype(values.dtype)
            put_constant(self._model, self._graph.tensors[index], unknown)
            return True
        if self._arithmetic is None:
            return False
        self._arithmetic.compute(index, values, terms)
        return True

    def _cut(self, index: int, values: Array, found: Sequence[tuple[Variant, Array]]) -> bool:
        """Keep a table at its largest, and cut it to size."""
        larger = [(v, other) for v, other in found if other.shape != values.shape]
        if self._arithmetic is None or len(larger) != 1:
            return False
        variant, table = larger[0]
        begins_alike = table.ndim == values.ndim and np.array_equal(
            table[tuple(slice(size) for size in values.shape)], values
        )
        shapes = np.array(values.shape), [(variant, np.array(table.shape))]
        terms = _find_terms(*shapes) if begins_alike and variant.is_largest else None
        if terms is None:
            return False
        self._arithmetic.cut(index, np.ascontiguousarray(table), shapes[0], terms)
        return True

    def _takes_unknown(
        self,
        operator: Any,  # noqa: ANN401 - untyped library
        position: int,
        values: Array,
        varies: NDArray[np.bool_],
    ) -> bool:
        """Whether -1 in the places that vary tells an operator the same: the one open size, or up to the end."""
        name = operator_name(self._model, operator)
        if name == "RESHAPE" and position == 1:
            return int(varies.sum()) == 1
        if name == "SLICE" and position == 2:
            begin = self._constants[operator.inputs[1]]
            whole = self._shapes[operator.inputs[0]]
            return begin is not None and bool((begin + values == whole)[varies].all())
        return False


def _find_terms(values: Array, found: Sequence[tuple[Variant, Array]]) -> list[Term] | None:
    """How a vector of integers grows with each dim; None where it does not do so evenly."""
    if values.dtype.kind != "i" or values.ndim != 1:
        return None
    terms = []
    for variant, other in found:
        if other.shape != values.shape:
            return None
        grown = other.astype(np.int64) - values.astype(np.int64)
        factors, rest = np.divmod(grown, variant.size - variant.base)
        if rest.any():
            return None
        if factors.any():
            terms.append(
                Term(input=variant.input, axis=variant.axis, base=variant.base, factors=factors)
            )
    return terms
