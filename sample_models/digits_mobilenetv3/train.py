"""Makes the weights again: `python -m sample_models.digits_mobilenetv3.train` from the root of the repository.

Why this model is hard to quantize. The channels of a layer may have any scale: the layer behind it, or the batch normalization
there, makes up for it, and in float nothing is lost. Training seldom pushes them apart, and weight decay pulls them together
again; here they start apart, by up to `_DECADES` each way, and there is no weight decay. A tensor that has one scale for all its
channels then loses the faint ones: step and noise are those of the loudest channel. Where ReLU or nothing stands between
two layers the channels can be equalized again; behind hard-swish, which no factor passes, and behind squeeze-and-excite
they cannot, and ranges or precision must be chosen instead. The learning rate is three times the usual, which widens the tails
of activations.

Most of the loss arises in the first three blocks, on the way from their first convolution to their second: there 8 bits of one
scale leave 10 to 24 dB of the signal, behind hard-swish 34 dB and more. With the channels equalized, 8 bits throughout lose
nothing that matters.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.cards import read_card
from sample_models.digits import load_digit_split, warp_digits
from sample_models.digits_mobilenetv3.model import (
    InvertedResidual,
    MobileNetV3,
    SqueezeExcite,
    create,
)
from sample_models.publishing import publish
from sample_models.training import TrainingRecipe, fit, labelled_tensors, prepare_run

NAME = "digits_mobilenetv3"
_DECADES = 1.8
_DECADES_WHERE_STUCK = 0.6


def spread_channels(model: MobileNetV3, generator: torch.Generator) -> None:
    """Give the channels of all blocks scales of their own, 10^u with u uniform, and make up for them in the next layer.

    Depthwise convolutions need nothing made up: batch normalization follows them. Hard-swish is another function of
    scaled channels, so that blocks with it start as others than they were.
    """
    blocks = cast("list[InvertedResidual]", list(model.blocks))
    factors = torch.ones(model.stem.out_channels)
    with torch.no_grad():
        for block, behind in zip(blocks, [*blocks[1:], None], strict=True):
            block.widen.weight /= factors[:, None, None]
            is_swish = isinstance(block.widen_activation, nn.Hardswish)
            _spread(block.widen_norm, generator, is_stuck=is_swish)
            excite = block.excite if isinstance(block.excite, SqueezeExcite) else None
            inside = _spread(
                block.depthwise_norm, generator, is_stuck=is_swish or excite is not None
            )
            block.narrow.weight /= inside[:, None, None]
            if excite is not None:
                excite.reduce.weight /= inside[:, None, None]
            if block.is_residual:  # a sum ties the channels of both sides together
                _scale(block.narrow_norm, factors)
            else:
                is_summed = behind is not None and behind.is_residual
                factors = _spread(block.narrow_norm, generator, is_stuck=is_summed)
        model.head.weight /= factors[:, None, None]


def _spread(norm: nn.BatchNorm2d, generator: torch.Generator, *, is_stuck: bool) -> Tensor:
    """Scale the channels that a normalization makes; by what."""
    decades = _DECADES_WHERE_STUCK if is_stuck else _DECADES
    drawn = torch.rand(norm.num_features, generator=generator)
    factors = torch.pow(10.0, (drawn * 2 - 1) * decades)
    _scale(norm, factors)
    return factors


def _scale(norm: nn.BatchNorm2d, factors: Tensor) -> None:
    norm.weight.mul_(factors)
    norm.bias.mul_(factors)


def main() -> None:
    """Train on the digits, and store weights, test set and accuracy."""
    recipe = TrainingRecipe(
        epochs=30, learning_rate=1e-2, weight_decay=0.0, seed=read_card(NAME).seed
    )
    prepare_run(recipe.seed)
    model = create()
    spread_channels(cast("MobileNetV3", model), torch.Generator().manual_seed(recipe.seed))
    split = load_digit_split(size=32, channels=1)
    fit(model, labelled_tensors(split.train), recipe, functional.cross_entropy, warp_digits)
    publish(NAME, model, split.test)


if __name__ == "__main__":
    main()
