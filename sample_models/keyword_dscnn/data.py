"""Made-up keyword spectrograms: no recording is small and free enough to be kept beside the code.

A keyword is a few moving resonances in the plane of time and cepstral coefficient. A speaker says it
earlier or later, faster or slower, louder or softer, a little off, and with noise.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sample_models.samples import Samples, Split

__all__ = ["LABELS", "load_keyword_split"]

LABELS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("silence", "unknown"),
)
FRAMES, COEFFICIENTS = 49, 10
TRAIN_PER_LABEL, TEST_PER_LABEL = 200, 40

_KEYWORDS = 10
_RESONANCES = 4
_NOISE = 0.55
_STEP = 1 / 16  # as a fixed-point front end delivers it; it also keeps the test file small

_Floats: TypeAlias = "npt.NDArray[np.float64]"


def load_keyword_split(seed: int) -> Split:
    """Samples of `spectrogram`, shape (samples, 1, 49, 10), float32, with the index into LABELS as label."""
    words = _draw_words(np.random.default_rng(seed), _KEYWORDS)
    train, test = (
        _make_samples(words, np.random.default_rng([seed, part]), per_label)
        for part, per_label in ((1, TRAIN_PER_LABEL), (2, TEST_PER_LABEL))
    )
    return Split(train=train, test=test)


def _draw_words(rng: np.random.Generator, count: int) -> _Floats:
    """Resonances as rows of (time, coefficient, slope, duration, breadth, height) for each word."""
    lowest = (0.25, 0.0, -0.4, 0.05, 0.6, -2.0)
    highest = (0.75, 9.0, 0.4, 0.15, 1.6, 2.0)
    return rng.uniform(lowest, highest, (count, _RESONANCES, len(lowest)))


def _make_samples(words: _Floats, rng: np.random.Generator, per_label: int) -> Samples:
    spectrograms, labels = [], []
    for label, name in enumerate(LABELS):
        for _ in range(per_label):
            sound = _NOISE * rng.standard_normal((FRAMES, COEFFICIENTS))
            if name != "silence":
                word = words[label] if label < _KEYWORDS else _draw_words(rng, 1)[0]
                sound += _speak(word, rng)
            spectrograms.append(np.round(sound / _STEP) * _STEP)
            labels.append(label)
    return Samples(
        inputs={"spectrogram": np.stack(spectrograms)[:, None].astype(np.float32)},
        extras={"label": np.array(labels, dtype=np.int64)},
    )


def _speak(word: _Floats, rng: np.random.Generator) -> _Floats:
    """One utterance of a word, without noise, of shape (frames, coefficients)."""
    speed, loudness = rng.uniform(0.85, 1.15), rng.uniform(0.7, 1.3)
    spoken = word + rng.normal(0, (0.015, 0.2, 0.05, 0.005, 0.1, 0.15), word.shape)
    time, coefficient, slope, duration, breadth, height = spoken.T[..., None, None]
    start = 0.5 + (time - 0.5) * speed + rng.uniform(-0.1, 0.1)
    frame = np.linspace(0, 1, FRAMES)[:, None]
    centre = coefficient + slope * 10 * (frame - start)
    distance = ((frame - start) / duration) ** 2
    distance = distance + ((np.arange(COEFFICIENTS) - centre) / breadth) ** 2
    spectrogram: _Floats = loudness * np.sum(height * np.exp(-distance / 2), axis=0)
    return spectrogram
