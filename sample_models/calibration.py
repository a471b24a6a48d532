"""Calibration data: inputs of each sample model that tell a quantizer its activations' ranges.

`python -m sample_models.calibration [NAME...]` makes the `calibration.npz` of the models again. The samples are drawn from
those that the model was trained on, so none of them is held out in `test.npz`; the sentence encoder, which was never
trained, has sentences of a seed of their own. `digits_qat` needs none: its scales were learned.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from sample_models.anomaly_autoencoder.data import load_machine_split
from sample_models.cards import CALIBRATION_FILE, folder_of, read_card
from sample_models.digits import load_digit_split
from sample_models.gesture_lstm.data import TEST_LENGTH, load_gesture_split
from sample_models.keyword_dscnn.data import load_keyword_split
from sample_models.samples import Samples, save_samples
from sample_models.sentence_encoder.train import make_sentences

__all__ = ["CALIBRATION_SIZE", "calibration_names", "make_calibration"]

CALIBRATION_SIZE = 128
_SEED = 1128  # no seed of a card


def make_calibration(name: str) -> Samples:
    """The inputs that calibrate a sample model, without labels: 128, or 64 sentences; the same each time."""
    drawn = _SOURCES[name](read_card(name).seed)
    count = min(CALIBRATION_SIZE, len(drawn))
    chosen = np.sort(np.random.default_rng(_SEED).choice(len(drawn), count, replace=False))
    return Samples(inputs={key: array[chosen] for key, array in drawn.inputs.items()})


def calibration_names() -> tuple[str, ...]:
    """The names of the models that there is calibration data for."""
    return tuple(_SOURCES)


def main() -> None:
    """Write the calibration data of the models that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=calibration_names())
    for name in parser.parse_args().names:
        save_samples(folder_of(name) / CALIBRATION_FILE, make_calibration(name))


def _gestures(seed: int) -> Samples:
    """As long as the held-out recordings: those for training are longer, to be cropped."""
    motion = load_gesture_split(seed).train.only_input()
    return Samples(inputs={"motion": motion[:, :TEST_LENGTH]})


_SOURCES: Mapping[str, Callable[[int], Samples]] = MappingProxyType(
    {
        "anomaly_autoencoder": lambda seed: load_machine_split(seed).train,
        "digits_mobilenet": lambda _: load_digit_split(48, 3).train,
        "digits_mobilenetv3": lambda _: load_digit_split(32, 1).train,
        "digits_resnet8": lambda _: load_digit_split(32, 3).train,
        "digits_vit": lambda _: load_digit_split(32, 1).train,
        "gesture_lstm": _gestures,
        "keyword_dscnn": lambda seed: load_keyword_split(seed).train,
        "sentence_encoder": lambda _: make_sentences(_SEED),
    }
)


if __name__ == "__main__":
    main()
