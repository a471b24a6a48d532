"""Makes the weights again: `python -m sample_models.keyword_dscnn.train` from the root of the repository."""

from __future__ import annotations

from torch.nn import functional

from sample_models.cards import read_card
from sample_models.keyword_dscnn.data import load_keyword_split
from sample_models.keyword_dscnn.model import create
from sample_models.publishing import publish
from sample_models.training import TrainingRecipe, fit, labelled_tensors, prepare_run

NAME = "keyword_dscnn"


def main() -> None:
    """Train on made-up spectrograms, and store weights, test set and accuracy."""
    recipe = TrainingRecipe(epochs=15, seed=read_card(NAME).seed)
    prepare_run(recipe.seed)
    model = create()
    split = load_keyword_split(recipe.seed)
    fit(model, labelled_tensors(split.train), recipe, functional.cross_entropy)
    publish(NAME, model, split.test)


if __name__ == "__main__":
    main()
