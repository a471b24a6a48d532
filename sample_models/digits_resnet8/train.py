"""Makes the weights again: `python -m sample_models.digits_resnet8.train` from the root of the repository."""

from __future__ import annotations

from torch.nn import functional

from sample_models.cards import read_card
from sample_models.digits import load_digit_split, warp_digits
from sample_models.digits_resnet8.model import create
from sample_models.publishing import publish
from sample_models.training import TrainingRecipe, fit, labelled_tensors, prepare_run

NAME = "digits_resnet8"


def main() -> None:
    """Train on the digits, and store weights, test set and accuracy."""
    recipe = TrainingRecipe(epochs=20, seed=read_card(NAME).seed)
    prepare_run(recipe.seed)
    model = create()
    split = load_digit_split(size=32, channels=3)
    fit(model, labelled_tensors(split.train), recipe, functional.cross_entropy, warp_digits)
    publish(NAME, model, split.test)


if __name__ == "__main__":
    main()
