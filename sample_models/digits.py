"""The data of the four digit models: scikit-learn's handwritten digits, scaled up, with a fixed split.

It is real handwriting that comes with a library, so the weights can be made again without a download.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from sample_models.samples import Samples, Split

__all__ = ["TEST_SIZE", "load_digit_split", "warp_digits"]

TEST_SIZE = 397
_SPLIT_SEED = 20
_BRIGHTEST = 16.0
_STEP = 1 / 64  # few grey levels keep the test files small


def load_digit_split(size: int, channels: int) -> Split:
    """The 8x8 digits as `image` of shape (samples, channels, size, size), float32 between 0 and 1.

    Bilinear interpolation scales them up; several channels repeat the same grey. The split is stratified by
    digit and the same for every size.

    Args:
        size: Height and width in pixels.
        channels: 1, or 3 for a network that expects colour.
    """
    digits = load_digits()
    pixels = torch.from_numpy(digits.images).float()[:, None] / _BRIGHTEST
    scaled = functional.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
    levels = torch.round(scaled / _STEP) * _STEP
    images = levels.expand(-1, channels, -1, -1).contiguous().numpy()
    labels = digits.target.astype(np.int64)
    chosen_train, chosen_test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, random_state=_SPLIT_SEED, stratify=labels
    )
    train, test = (
        Samples(inputs={"image": images[chosen]}, extras={"label": labels[chosen]})
        for chosen in (chosen_train, chosen_test)
    )
    return Split(train=train, test=test)


def warp_digits(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned by up to 12 degrees, scaled by up to 10 % and shifted by up to 1/16 of its width."""
    count = len(images)
    turn, scale, right, down = (torch.rand(count, generator=generator) * 2 - 1 for _ in range(4))
    angle, scale = turn * 0.21, 1 + scale * 0.1
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (torch.stack([cosine, -sine, right * 0.125]), torch.stack([sine, cosine, down * 0.125]))
    matrices = torch.stack(rows).permute(2, 0, 1)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
