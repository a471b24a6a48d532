"""How an operator's lowering is declared and found.

`@lower("aten.relu")` makes a function a `Lowering`; a registry is built from the modules that hold them. Nothing is
registered by importing a module, so a registry is exactly what it was built from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from types import ModuleType

__all__ = ["Lowering", "LoweringRegistry", "lower"]


@dataclass(frozen=True, slots=True)
class Lowering:
    """A function and the operators it translates: overloads (`aten.add.Tensor`) or all overloads (`aten.add`).

    Attributes:
        names: Of the operators.
        function: Builds the graph's operators.
        is_complex: Whether it is for complex values, which reach it as `ComplexPair`.
    """

    names: tuple[str, ...]
    function: Callable[..., object]
    is_complex: bool = False


def lower(*names: str, is_complex: bool = False) -> Callable[[Callable[..., object]], Lowering]:
    """Declare a function as the lowering of operators.

    The function is called as `function(b, *args, **kwargs)` with the operator's arguments in the order of its
    schema: tensors as `graph.Tensor`, symbolic sizes as `Size`, everything else as it is. `b` is the
    `LoweringBuilder`, which also tells the dtype and shape that PyTorch gives the result.
    """

    def declare(function: Callable[..., object]) -> Lowering:
        return Lowering(names, function, is_complex)

    return declare


class LoweringRegistry:
    """Finds the lowering of an operator."""

    def __init__(self, lowerings: Iterable[Lowering]) -> None:
        self._by_name: dict[tuple[str, bool], Lowering] = {}
        self._titles: dict[Lowering, str] = {}
        for lowering in lowerings:
            for name in lowering.names:
                key = (name, lowering.is_complex)
                if self._by_name.setdefault(key, lowering) is not lowering:
                    raise ValueError(f"two lowerings for '{name}'")

    @classmethod
    def from_modules(cls, modules: Iterable[ModuleType]) -> LoweringRegistry:
        """All lowerings that the modules define, alone or in tuples."""
        return cls(item for module in modules for item in _lowerings(module))

    def extended(
        self, added: Iterable[tuple[str, object]]
    ) -> tuple[LoweringRegistry, tuple[str, ...]]:
        """The same with the lowerings of plug-ins.

        Args:
            added: For each plug-in how messages call it, and what it brings: a `Lowering`, several, or a module that holds
                some. An operator that has a lowering keeps it.

        Returns:
            The registry, and what was left out, for people.
        """
        extended = self._copy()
        problems: list[str] = []
        for title, brought in added:
            found = _lowerings(brought)
            if not found:
                problems.append(f"plug-in {title} brings no lowering")
            for lowering in found:
                taken = [n for n in lowering.names if (n, lowering.is_complex) in extended._by_name]
                problems += [
                    f"'{name}' has a lowering: that of {title} is left out" for name in taken
                ]
                for name in set(lowering.names) - set(taken):
                    extended._by_name[name, lowering.is_complex] = lowering
                    extended._titles[lowering] = title
        return extended, tuple(problems)

    def preferring(self, lowerings: Iterable[Lowering]) -> LoweringRegistry:
        """The same with lowerings that come first, and leave the operator to the present one where they give None."""
        preferring = self._copy()
        for lowering in lowerings:
            for name in lowering.names:
                present = self._by_name.get((name, lowering.is_complex))
                first = lowering if present is None else _first_of(lowering, present)
                preferring._by_name[name, lowering.is_complex] = first
        return preferring

    def find(self, operator: str, *, is_complex: bool = False) -> Lowering | None:
        """The lowering of `namespace.name.overload`.

        It is that overload's own, or that of all overloads, or, for an in-place operator (`relu_`), that of the
        operator it does in place.
        """
        packet, _, overload = operator.rpartition(".")
        names = [operator, packet]
        if packet.endswith("_") and not packet.endswith("__"):
            names += [f"{packet[:-1]}.{overload}", packet[:-1]]
        found = (self._by_name.get((name, is_complex)) for name in names)
        return next((lowering for lowering in found if lowering is not None), None)

    def brought_by(self, operator: str) -> str:
        """How messages call the plug-in whose lowering an operator has; empty where it is edgeconv's or there is none."""
        found = (self.find(operator, is_complex=flag) for flag in (False, True))
        return next((self._titles[item] for item in found if item in self._titles), "")

    def _copy(self) -> LoweringRegistry:
        copy = LoweringRegistry(())
        copy._by_name.update(self._by_name)
        copy._titles.update(self._titles)
        return copy

    def knows(self, operator: str) -> bool:
        """Whether there is a lowering for real or for complex values."""
        return any(self.find(operator, is_complex=flag) is not None for flag in (False, True))


def _first_of(lowering: Lowering, present: Lowering) -> Lowering:
    @wraps(present.function)
    def function(b: object, *args: object, **kwargs: object) -> object:
        result = lowering.function(b, *args, **kwargs)
        return present.function(b, *args, **kwargs) if result is None else result

    return Lowering(lowering.names, function, lowering.is_complex)


def _lowerings(brought: object) -> list[Lowering]:
    """The lowerings in a module, alone or in tuples; or those that are given themselves."""
    values = list(vars(brought).values()) if isinstance(brought, ModuleType) else [brought]
    groups = [value if isinstance(value, tuple | list) else (value,) for value in values]
    return [item for group in groups for item in group if isinstance(item, Lowering)]
