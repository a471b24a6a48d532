"""Made-up accelerometer recordings of six gestures, in units of gravity.

Every gesture is a periodic movement, so that any stretch of it is an example of it: that is what lets the
length differ. Tempo, strength, phase and the way the device is held differ from sample to sample.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sample_models.samples import Samples, Split

__all__ = ["LABELS", "TEST_LENGTH", "TRAIN_LENGTH", "crop_randomly", "load_gesture_split"]

LABELS = ("rest", "shake", "wave", "circle", "knock", "swing")
TRAIN_LENGTH, TEST_LENGTH, SHORTEST = 96, 64, 40
TRAIN_PER_LABEL, TEST_PER_LABEL = 250, 60

_NOISE = 0.12
_STEP = 1 / 128  # the resolution of an 8-bit sensor
_TILT = 0.3

_Floats: TypeAlias = "npt.NDArray[np.float64]"


def load_gesture_split(seed: int) -> Split:
    """Samples of `motion`, shape (samples, time, 3), float32, with the index into LABELS as label."""
    train, test = (
        _make_samples(np.random.default_rng([seed, part]), per_label, length)
        for part, per_label, length in (
            (1, TRAIN_PER_LABEL, TRAIN_LENGTH),
            (2, TEST_PER_LABEL, TEST_LENGTH),
        )
    )
    return Split(train=train, test=test)


def crop_randomly(motion: Tensor, generator: torch.Generator) -> Tensor:
    """A stretch of random length, the same for the whole batch, so that the model learns no length."""
    length = int(torch.randint(SHORTEST, motion.shape[1] + 1, (), generator=generator))
    start = int(torch.randint(0, motion.shape[1] - length + 1, (), generator=generator))
    return motion[:, start : start + length]


def _make_samples(rng: np.random.Generator, per_label: int, length: int) -> Samples:
    labels = np.repeat(np.arange(len(LABELS), dtype=np.int64), per_label)
    motion = np.stack([_record(LABELS[label], rng, length) for label in labels])
    rounded = (np.round(motion / _STEP) * _STEP).astype(np.float32)
    return Samples(inputs={"motion": rounded}, extras={"label": labels})


def _record(gesture: str, rng: np.random.Generator, length: int) -> _Floats:
    """One recording of shape (length, 3): gravity, the movement, and noise."""
    tempo, strength = rng.uniform(0.8, 1.25), rng.uniform(0.6, 1.4)
    cycles = np.arange(length) / 16 * tempo + rng.uniform(0, 1)
    movement = strength * np.stack(_move(gesture, 2 * np.pi * cycles), axis=1)
    gravity = np.array([0.0, 0.0, 1.0])
    return (gravity + movement) @ _tilt(rng) + _NOISE * rng.standard_normal((length, 3))


def _move(gesture: str, phase: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Acceleration along x (sideways), y (forwards) and z (upwards) at each phase."""
    still = np.zeros_like(phase)
    match gesture:
        case "shake":
            return np.sin(3 * phase), still, still
        case "wave":
            return np.sin(phase), still, 0.3 * np.cos(2 * phase)
        case "circle":
            return np.sin(phase), np.cos(phase), still
        case "knock":
            return still, still, 2 * np.maximum(np.cos(phase), 0) ** 8
        case "swing":
            return still, np.sin(phase), 0.3 * np.cos(2 * phase)
        case _:
            return still, still, still


def _tilt(rng: np.random.Generator) -> _Floats:
    """A rotation by small angles about x and y."""
    about_x, about_y = rng.uniform(-_TILT, _TILT, 2)
    cos_x, sin_x, cos_y, sin_y = np.cos(about_x), np.sin(about_x), np.cos(about_y), np.sin(about_y)
    first = np.array([[1, 0, 0], [0, cos_x, -sin_x], [0, sin_x, cos_x]])
    second = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    rotation: _Floats = first @ second
    return rotation
