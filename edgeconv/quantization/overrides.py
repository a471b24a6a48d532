"""Operators that are to have another precision than the recipe says, as users name them."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import Precision
from edgeconv.quantization.recipes import FLOAT, find_recipe

__all__ = ["Override", "parse_override"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Operators that have another precision than the recipe says.

    Attributes:
        pattern: Matched with the operator's name, and with the line and PyTorch node it came from; `*` and `?` are wild.
        recipe: Name of a recipe, or `float32`.
    """

    pattern: str
    recipe: str

    @property
    def precision(self) -> Precision:
        """What the operators compute in."""
        return FLOAT.precision if self.recipe == FLOAT.name else find_recipe(self.recipe).precision


def parse_override(text: str) -> Override:
    """An override as it is written: `PATTERN=RECIPE`.

    Raises:
        UsageError: It is written otherwise, or there is no such recipe.

    Example:
        >>> parse_override("*/classifier*=float32").recipe
        'float32'
    """
    pattern, found, recipe = text.rpartition("=")
    if not found or not pattern or not recipe:
        raise UsageError(
            f"'{text}' is no override",
            hint="write PATTERN=RECIPE, such as '*classifier*=float32'",
        )
    if recipe != FLOAT.name:
        find_recipe(recipe)
    return Override(pattern=pattern, recipe=recipe)
