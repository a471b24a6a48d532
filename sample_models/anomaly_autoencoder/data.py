"""Made-up machine sound: log-mel features of a fan that runs well, and of one that does not.

A healthy fan hums: harmonics of its speed over a falling noise floor. Speed, load and loudness differ from
sample to sample. A faulty one adds a whistle, loses a harmonic, or knocks.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sample_models.samples import Samples, Split

__all__ = ["load_machine_split"]

FRAMES, BANDS = 5, 128
TRAIN_SIZE, TEST_SIZE_PER_LABEL = 4000, 200

_NOISE = 0.3
_STEP = (
    1 / 8
)  # about 1 dB, as a fixed-point front end delivers it; it also keeps the test file small
_HARMONICS = np.arange(1.0, 7.0)

_Floats: TypeAlias = "npt.NDArray[np.float64]"


def load_machine_split(seed: int) -> Split:
    """Samples of `features`, shape (samples, 640), float32: 5 frames of 128 bands, in units of 8 dB.

    Training knows healthy machines alone. Test samples have a `label` (1: faulty), and `target`, the
    features again, for a metric that sees outputs and extras only.
    """
    train_rng, test_rng = (np.random.default_rng([seed, part]) for part in (1, 2))
    healthy = _record(train_rng, TRAIN_SIZE, is_faulty=False)
    test = np.concatenate(
        [_record(test_rng, TEST_SIZE_PER_LABEL, is_faulty=faulty) for faulty in (False, True)]
    )
    labels = np.repeat(np.array([0, 1], dtype=np.int64), TEST_SIZE_PER_LABEL)
    return Split(
        train=Samples(inputs={"features": healthy}),
        test=Samples(inputs={"features": test}, extras={"label": labels, "target": test}),
    )


def _record(rng: np.random.Generator, count: int, *, is_faulty: bool) -> npt.NDArray[np.float32]:
    recordings = np.stack([_listen(rng, is_faulty=is_faulty) for _ in range(count)])
    return (np.round(recordings / _STEP) * _STEP).astype(np.float32).reshape(count, -1)


def _listen(rng: np.random.Generator, *, is_faulty: bool) -> _Floats:
    """One recording of shape (frames, bands)."""
    speed, load, loudness = rng.uniform(14, 17), rng.uniform(0.5, 1.5), rng.uniform(-0.4, 0.4)
    heights = 2.5 * load * _HARMONICS**-0.5
    fault = rng.integers(3) if is_faulty else -1
    if fault == 0:
        heights[rng.integers(len(heights))] *= 0.2
    spectrum = _floor(load) + _tones(speed * _HARMONICS, heights)
    if fault == 1:
        spectrum += _tones(rng.uniform(5, BANDS - 5, 1), rng.uniform(1.0, 2.5, 1))
    sound = loudness + np.tile(spectrum, (FRAMES, 1))
    if fault == 2:
        sound[rng.integers(FRAMES)] += rng.uniform(0.4, 1.0)
    return sound + _NOISE * rng.standard_normal((FRAMES, BANDS))


def _floor(load: float) -> _Floats:
    return 0.5 * load - np.linspace(0.0, 2.0, BANDS)


def _tones(centres: _Floats, heights: _Floats) -> _Floats:
    distance = (np.arange(BANDS)[:, None] - centres) / 1.5
    lines: _Floats = np.sum(heights * np.exp(-(distance**2) / 2), axis=1)
    return lines
