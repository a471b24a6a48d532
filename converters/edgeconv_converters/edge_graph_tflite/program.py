"""The form between the edge graph and the flatbuffer: TFLite's own operators, all parameters as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from edgeconv.graph import Tensor
from edgeconv.graph.model import Constant
from edgeconv.signature import DType

__all__ = ["Constants", "Names", "Operator", "OptionValue", "Program"]

OptionValue: TypeAlias = "bool | int | float | str | tuple[int, ...]"


@dataclass(slots=True, eq=False, kw_only=True)
class Operator:
    """One operator as TFLite runs it; `options` have the names of the fields in TFLite's schema."""

    code: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: dict[str, OptionValue] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class Program:
    """One subgraph of a TFLite file."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    operators: list[Operator]

    def tensors(self) -> list[Tensor]:
        """Every tensor once: inputs, then in order of first use."""
        found = dict.fromkeys(self.inputs)
        for operator in self.operators:
            found.update(dict.fromkeys(t for t in operator.inputs if t is not None))
            found.update(dict.fromkeys(operator.outputs))
        found.update(dict.fromkeys(self.outputs))
        return list(found)


class Names:
    """Gives names that nothing else in a file has."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def take(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2`, … when it is taken."""
        name, count = wish, self._counts.get(wish, 0)
        while name in self._counts:
            count += 1
            name = f"{wish}_{count}"
        self._counts[wish] = count
        self._counts.setdefault(name, 0)
        return name


class Constants:
    """Small known tensors of one program; equal ones are made once."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}

    def integers(self, values: tuple[int, ...], dtype: DType = DType.INT32) -> Tensor:
        """A vector of integers."""
        return self.array(np.asarray(values, dtype=np.dtype(dtype.value)))

    def scalar(self, value: float, dtype: DType = DType.INT32) -> Tensor:
        """A scalar."""
        return self.array(np.asarray(value, dtype=np.dtype(dtype.value)))

    def array(self, value: Constant) -> Tensor:
        """Any small array."""
        key = (value.dtype.name, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = Tensor(
                name=self._names.take("parameter"),
                dtype=DType(value.dtype.name),
                shape=tuple(value.shape),
                constant=value,
            )
        return self._known[key]
