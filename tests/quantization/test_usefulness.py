"""Models that a recipe does nothing for are refused, in words that say what does."""

from __future__ import annotations

import pytest

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import FLOAT32, Operator, Precision, QuantizedFile
from edgeconv.quantization.recipes import RECIPES
from edgeconv.quantization.usefulness import Usefulness
from tests.quantization.fake import FakeModel

DYNAMIC = Precision(weights="int8", is_dynamic=True)


class Poor(FakeModel):
    """The runtime has kernels in some precisions only."""

    known: tuple[Precision, ...] = ()

    def refusal(self, operator: Operator, precision: Precision) -> str:
        return "" if precision in self.known else f"no kernel for {operator.code}"


def poor(*recipes: str, shapes: tuple[str, ...] = ()) -> Usefulness:
    model = Poor(noise=[1, 1], shapes=frozenset(shapes))
    model.known = tuple(RECIPES[name].precision for name in recipes)
    return Usefulness(model=model)


def test_a_recipe_without_a_kernel_is_refused_before_the_work_starts() -> None:
    useful = poor("int8", "fp16")
    useful.check_recipe(RECIPES["int8"])
    with pytest.raises(UsageError, match="recipe 'int16x8' does nothing") as caught:
        useful.check_recipe(RECIPES["int16x8"])
    assert caught.value.details == ("no kernel for FAKE",)
    assert "fp16, int8" in caught.value.hint


def test_what_is_quantized_while_it_runs_is_something_for_a_static_recipe_too() -> None:
    useful = poor("int8-dynamic")
    useful.check_recipe(RECIPES["int8"])
    assert [one.name for one in useful.find_recipes()] == ["int8", "int8-dynamic", "int16x8"]


def test_a_model_that_no_recipe_does_anything_for() -> None:
    with pytest.raises(UsageError, match="no recipe does anything for this model") as caught:
        poor().find_recipes()
    assert "fp16: no kernel for FAKE" in caught.value.details
    assert "use the float file" in caught.value.hint
    with pytest.raises(UsageError, match="recipe 'int8' does nothing") as caught:
        poor().check_recipe(RECIPES["int8"])
    assert "no other recipe" in caught.value.hint


def test_changes_of_shape_alone_are_not_worth_rounding_but_between_integers() -> None:
    model = FakeModel(noise=[1, 1], shapes=frozenset({"op0", "op1"}))
    with pytest.raises(UsageError) as caught:
        Usefulness(model=model).find_recipes()
    assert "int8: its operators only change shapes" in caught.value.details
    assert Usefulness(model=model, has_integer_ends=True).find_recipes() == list(RECIPES.values())
    assert poor("int8", shapes=("op0",)).find_recipes() == [RECIPES["int8"]]


def test_a_file_in_which_everything_is_as_it_was() -> None:
    useful = poor("int8")
    int8 = RECIPES["int8"]
    useful.check_file(int8, QuantizedFile(precisions={"op0": int8.precision, "op1": FLOAT32}))
    kept = QuantizedFile(precisions={"op0": FLOAT32}, reasons={"op0": "it reads no integers"})
    with pytest.raises(UsageError, match="does nothing") as caught:
        useful.check_file(int8, kept)
    assert caught.value.details == ("it reads no integers",)
    with pytest.raises(UsageError) as caught:
        useful.check_file(int8, QuantizedFile(precisions={}))
    assert "overrides" in caught.value.details[0]
    Usefulness(model=FakeModel(noise=[1]), has_integer_ends=True).check_file(int8, kept)
