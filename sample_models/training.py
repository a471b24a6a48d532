"""The training loop all sample models share: AdamW with a one-cycle learning rate, seeded, on one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from sample_models.samples import Samples

__all__ = ["Augmentation", "Loss", "TrainingRecipe", "fit", "labelled_tensors", "prepare_run"]

_log = logging.getLogger(__name__)

Augmentation: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How long and how fast a model learns; `seed` decides initial weights, order and augmentation."""

    epochs: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    seed: int = 0


def prepare_run(seed: int) -> None:
    """Show progress, fix the seed of initial weights and dropout, and use one thread.

    The order of float additions depends on the number of threads: with one, runs differ least.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(seed)


def labelled_tensors(samples: Samples) -> tuple[Tensor, Tensor]:
    """The only input of each sample, and its label."""
    return torch.from_numpy(samples.only_input()), torch.from_numpy(samples.extras["label"])


def fit(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    recipe: TrainingRecipe,
    loss: Loss,
    augment: Augmentation | None = None,
) -> None:
    """Train `model` in place, and leave it in evaluation mode.

    Args:
        model: Takes a batch of inputs and returns what `loss` compares with targets.
        data: All inputs and all targets; the first axis of both counts samples.
        recipe: Epochs, batch size, rates and seed.
        loss: Mean loss of a batch, from predictions and targets.
        augment: Changes the inputs of a batch, drawing from the generator it is given.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * -(-len(data[0]) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps)
    model.train()
    for epoch in range(recipe.epochs):
        total = 0.0
        for inputs, targets in _shuffled_batches(data, recipe.batch_size, generator):
            batch = inputs if augment is None else augment(inputs, generator)
            value = loss(model(batch), targets)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]  # torch leaves this one untyped
            optimizer.step()
            schedule.step()
            total += value.item() * len(inputs)
        _log.info("epoch %3d of %d: loss %.4f", epoch + 1, recipe.epochs, total / len(data[0]))
    model.eval()


def _shuffled_batches(
    data: tuple[Tensor, Tensor], batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, targets = data
    for chosen in torch.split(torch.randperm(len(inputs), generator=generator), batch_size):
        yield inputs[chosen], targets[chosen]
