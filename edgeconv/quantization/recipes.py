"""The recipes: what numbers a model is quantized to, under names that say it.

A name is `<weights>[x<activations>][-<how>][-b<block>]`:

- `fp16`: weights and, where the runtime has kernels for it, activations in half precision;
- `int8`: weights and activations in 8-bit integers, the activations' scales from calibration (static);
- `int16x8`: activations in 16-bit and weights in 8-bit integers, static;
- `int8-dynamic`: 8-bit weights; activations become integers while the model runs, by the range each has then;
- `int8-weights`, `int4-weights`: integers are only what weights are stored as; everything computes in float32;
- `int4-weights-b32`: a scale for each block of 32 weights along the input axis (32, 64, 128 or 256), instead of one for
  each output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import FLOAT32, Precision

__all__ = ["FLOAT", "RECIPES", "Recipe", "find_recipe", "name_precision"]

_BLOCKS = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named precision for all operators that can have it.

    Attributes:
        name: As users write it; it also names the file: `<model>.<recipe>.tflite`.
        precision: Of every operator that has a kernel for it.
        summary: One line for the command line and the docs.
    """

    name: str
    precision: Precision
    summary: str

    @property
    def needs_calibration(self) -> bool:
        """Whether real inputs must be seen before it can be carried out."""
        return self.precision.is_static


def _blockwise(block: int) -> Recipe:
    return Recipe(
        name=f"int4-weights-b{block}",
        precision=Precision(weights="int4", block=block),
        summary=f"weights stored as 4-bit integers, a scale for each {block} of them; computes in float32",
    )


_ALL = (
    Recipe(
        name="fp16",
        precision=Precision(weights="float16", activations="float16"),
        summary="half precision: half the size, for GPUs and processors with half-precision arithmetic",
    ),
    Recipe(
        name="int8",
        precision=Precision(weights="int8", activations="int8"),
        summary="8-bit integers throughout: a quarter of the size, the fastest on most processors and the only one for many accelerators",
    ),
    Recipe(
        name="int8-dynamic",
        precision=Precision(weights="int8", is_dynamic=True),
        summary="8-bit weights, activations quantized while running: no calibration, good for transformers and LSTMs",
    ),
    Recipe(
        name="int8-weights",
        precision=Precision(weights="int8"),
        summary="weights stored as 8-bit integers; computes in float32",
    ),
    Recipe(
        name="int16x8",
        precision=Precision(weights="int8", activations="int16"),
        summary="16-bit activations, 8-bit weights: nearly float's accuracy on integer hardware",
    ),
    Recipe(
        name="int4-weights",
        precision=Precision(weights="int4"),
        summary="weights stored as 4-bit integers, a scale for each output channel; computes in float32",
    ),
    *(_blockwise(block) for block in _BLOCKS),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})
"""Every recipe, by name."""

FLOAT = Recipe(name="float32", precision=FLOAT32, summary="as it is")
"""What an override names to keep operators as they are."""


def find_recipe(name: str) -> Recipe:
    """The recipe with this name.

    Raises:
        UsageError: There is none.

    Example:
        >>> find_recipe("int8").needs_calibration
        True
    """
    if name not in RECIPES:
        raise UsageError(
            f"there is no recipe '{name}'",
            hint="use one of: " + ", ".join(RECIPES),
        )
    return RECIPES[name]


def name_precision(precision: Precision) -> str:
    """The recipe, or `float32`, that an override names to give operators a precision.

    Example:
        >>> name_precision(RECIPES["int4-weights-b32"].precision)
        'int4-weights-b32'
    """
    return next(one.name for one in (FLOAT, *_ALL) if one.precision == precision)
