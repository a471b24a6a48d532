"""Makes the weights again: `python -m sample_models.gesture_lstm.train` from the root of the repository."""

from __future__ import annotations

from torch.nn import functional

from sample_models.cards import read_card
from sample_models.gesture_lstm.data import crop_randomly, load_gesture_split
from sample_models.gesture_lstm.model import create
from sample_models.publishing import publish
from sample_models.training import TrainingRecipe, fit, labelled_tensors, prepare_run

NAME = "gesture_lstm"


def main() -> None:
    """Train on made-up recordings of many lengths, and store weights, test set and accuracy."""
    recipe = TrainingRecipe(epochs=30, learning_rate=1e-2, seed=read_card(NAME).seed)
    prepare_run(recipe.seed)
    model = create()
    split = load_gesture_split(recipe.seed)
    fit(model, labelled_tensors(split.train), recipe, functional.cross_entropy, crop_randomly)
    publish(NAME, model, split.test)


if __name__ == "__main__":
    main()
