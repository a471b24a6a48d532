"""Makes the weights again: `python -m sample_models.digits_mobilenet.train` from the root of the repository."""

from __future__ import annotations

from torch.nn import functional

from sample_models.cards import read_card
from sample_models.digits import load_digit_split, warp_digits
from sample_models.digits_mobilenet.model import create
from sample_models.publishing import publish
from sample_models.training import TrainingRecipe, fit, labelled_tensors, prepare_run

NAME = "digits_mobilenet"


def main() -> None:
    """Train on the digits, and store weights, test set and accuracy."""
    recipe = TrainingRecipe(epochs=40, seed=read_card(NAME).seed)
    prepare_run(recipe.seed)
    model = create()
    split = load_digit_split(size=48, channels=3)
    fit(model, labelled_tensors(split.train), recipe, functional.cross_entropy, warp_digits)
    publish(NAME, model, split.test)


if __name__ == "__main__":
    main()
