"""Which recipes do anything for a model, and what is said where one does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import (
    FLOAT32,
    Dependence,
    FloatModel,
    Operator,
    Precision,
    QuantizedFile,
)
from edgeconv.quantization.recipes import RECIPES, Recipe

__all__ = ["Usefulness"]

_DYNAMIC = Precision(weights="int8", is_dynamic=True)
_MOST_REASONS = 8
_ONLY_SHAPES = "its operators only change shapes"
_KEPT = "overrides keep its operators as they are"
_AS_IT_IS = "use the float file as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usefulness:
    """What recipes do for a model.

    Attributes:
        model: The model.
        has_integer_ends: Whether its inputs and outputs become integers, so that even a change of shape spares a cast.
    """

    model: FloatModel
    has_integer_ends: bool = False

    def find_recipes(self) -> list[Recipe]:
        """Every recipe that the runtime has a kernel for in some operator.

        Raises:
            UsageError: There is none.
        """
        found = self._useful()
        if found:
            return found
        reasons = {one.name: self._reasons(one) for one in RECIPES.values()}
        raise UsageError(
            "no recipe does anything for this model",
            why="none of its operators computes in fewer bits, or has weights to be stored in fewer",
            hint=_AS_IT_IS,
            details=[f"{name}: {told[0]}" for name, told in reasons.items()],
        )

    def check_recipe(self, recipe: Recipe) -> None:
        """Refuse a recipe before the work starts that the runtime has no kernel for in any operator.

        Raises:
            UsageError: There is none.
        """
        if all(self._refusals(recipe)):
            raise self._useless(recipe, self._reasons(recipe))

    def check_file(self, recipe: Recipe, file: QuantizedFile) -> None:
        """Refuse a file in which every operator is as it was.

        Raises:
            UsageError: So it is.
        """
        if self.has_integer_ends:
            return
        if all(file.precisions.get(one.name, FLOAT32) == FLOAT32 for one in self._operators()):
            kept = [_KEPT] if self._operators() else [_ONLY_SHAPES]
            raise self._useless(recipe, list(dict.fromkeys(file.reasons.values())) or kept)

    def _useless(self, recipe: Recipe, reasons: Sequence[str]) -> UsageError:
        others = [one.name for one in self._useful() if one != recipe]
        hint = (
            f"{_AS_IT_IS}, or take a recipe that changes something: {', '.join(others)}"
            if others
            else f"{_AS_IT_IS}: no other recipe does anything for it"
        )
        return UsageError(
            f"recipe '{recipe.name}' does nothing for this model",
            why="every operator would stay in float32",
            hint=hint,
            details=reasons[:_MOST_REASONS],
        )

    def _useful(self) -> list[Recipe]:
        return [recipe for recipe in RECIPES.values() if not all(self._refusals(recipe))]

    def _reasons(self, recipe: Recipe) -> list[str]:
        """Why a recipe does nothing, each reason once."""
        found = dict.fromkeys(reason for reason in self._refusals(recipe) if reason)
        return list(found) or [_ONLY_SHAPES]

    def _refusals(self, recipe: Recipe) -> Iterator[str]:
        """Why each operator stays in float; empty where it does not."""
        precision = recipe.precision
        for operator in self._operators():
            refusal = self.model.refusal(operator, precision)
            # What no static kernel takes is quantized while it runs, if there is a kernel for that.
            if refusal and precision.is_static and not self.model.refusal(operator, _DYNAMIC):
                refusal = ""
            yield refusal

    def _operators(self) -> list[Operator]:
        """Those that compute something: only to change a shape, nothing is worth rounding."""
        if self.has_integer_ends:
            return list(self.model.operators)
        return [
            one
            for one in self.model.operators
            if one.dependence is not Dependence.SHAPE or self._reads_weights(one)
        ]

    def _reads_weights(self, operator: Operator) -> bool:
        constants = (self.model.constant(name) for name in operator.inputs if name)
        return any(one is not None and one.dtype.kind == "f" for one in constants)
