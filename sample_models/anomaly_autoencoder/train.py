"""Makes the weights again: `python -m sample_models.anomaly_autoencoder.train` from the root of the repository."""

from __future__ import annotations

import torch
from torch.nn import functional

from sample_models.anomaly_autoencoder.data import load_machine_split
from sample_models.anomaly_autoencoder.model import create
from sample_models.cards import read_card
from sample_models.publishing import publish
from sample_models.training import TrainingRecipe, fit, prepare_run

NAME = "anomaly_autoencoder"


def main() -> None:
    """Train to rebuild healthy sound, and store weights, test set and area under the curve."""
    recipe = TrainingRecipe(epochs=30, seed=read_card(NAME).seed)
    prepare_run(recipe.seed)
    model = create()
    split = load_machine_split(recipe.seed)
    healthy = torch.from_numpy(split.train.only_input())
    fit(model, (healthy, healthy), recipe, functional.mse_loss)
    publish(NAME, model, split.test)


if __name__ == "__main__":
    main()
