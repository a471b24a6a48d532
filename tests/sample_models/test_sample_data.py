"""Held-out samples are really held out, the stored ones are those the code makes, and metrics measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from sample_models.anomaly_autoencoder.data import load_machine_split
from sample_models.calibration import CALIBRATION_SIZE, calibration_names, make_calibration
from sample_models.cards import CALIBRATION_FILE, TEST_FILE, folder_of, model_names, read_card
from sample_models.digits import load_digit_split, warp_digits
from sample_models.evaluation import reconstruction_auc, top1
from sample_models.gesture_lstm.data import crop_randomly, load_gesture_split
from sample_models.keyword_dscnn.data import load_keyword_split
from sample_models.samples import (
    Samples,
    Split,
    load_samples,
    overlapping_rows,
    save_samples,
)
from sample_models.sentence_encoder.train import make_sentences
from sample_models.training import TrainingRecipe, fit

pytestmark = pytest.mark.integration

SPLITS: dict[str, Callable[[], Split]] = {
    "anomaly_autoencoder": lambda: load_machine_split(seed_of("anomaly_autoencoder")),
    "digits_mobilenet": lambda: load_digit_split(48, 3),
    "digits_mobilenetv3": lambda: load_digit_split(32, 1),
    "digits_qat": lambda: load_digit_split(32, 1),
    "digits_resnet8": lambda: load_digit_split(32, 3),
    "digits_vit": lambda: load_digit_split(32, 1),
    "gesture_lstm": lambda: load_gesture_split(seed_of("gesture_lstm")),
    "keyword_dscnn": lambda: load_keyword_split(seed_of("keyword_dscnn")),
}


def seed_of(name: str) -> int:
    return read_card(name).seed


def stored(name: str) -> Samples:
    return load_samples(folder_of(name) / TEST_FILE, read_card(name).input_names())


def test_every_trained_model_has_its_split_checked() -> None:
    trained = {name for name in model_names() if read_card(name).metric.value is not None}
    assert trained == set(SPLITS)


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_no_held_out_sample_was_trained_on(name: str) -> None:
    train, test = SPLITS[name]().train.only_input(), stored(name).only_input()
    length = test.shape[1]
    seen = train[:, :length]  # recordings of motion are longer in training
    assert seen.dtype == test.dtype
    assert overlapping_rows(seen, test) == 0
    planted = np.concatenate([seen, test[:3]])
    assert overlapping_rows(planted, test) == 3


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_the_stored_samples_are_those_that_the_code_makes(name: str) -> None:
    made, kept = SPLITS[name]().test, stored(name)
    assert len(made) == len(kept)
    np.testing.assert_array_equal(made.extras["label"], kept.extras["label"])
    # a last bit may differ between builds of exp and sin, and then a whole rounding step
    assert np.mean(made.only_input() != kept.only_input()) < 0.001


def test_the_stored_sentences_are_those_that_the_code_makes() -> None:
    made, kept = make_sentences(seed_of("sentence_encoder")), stored("sentence_encoder")
    for name, array in made.inputs.items():
        np.testing.assert_array_equal(array, kept.inputs[name])
    assert not np.array_equal(make_sentences(99).inputs["input_ids"], kept.inputs["input_ids"])


def stored_calibration(name: str) -> Samples:
    return load_samples(folder_of(name) / CALIBRATION_FILE, read_card(name).input_names())


def test_every_model_of_floats_has_calibration_data() -> None:
    assert set(calibration_names()) == set(model_names()) - {"digits_qat"}
    assert all((folder_of(name) / CALIBRATION_FILE).is_file() for name in calibration_names())


@pytest.mark.parametrize("name", calibration_names())
def test_calibration_data_are_inputs_that_are_not_held_out(name: str) -> None:
    calibration, test = stored_calibration(name), stored(name)
    assert set(calibration.inputs) == set(read_card(name).input_names())
    assert not calibration.extras
    assert len(calibration) == (64 if name == "sentence_encoder" else CALIBRATION_SIZE)
    key = read_card(name).input_names()[0]
    assert calibration.inputs[key].dtype == test.inputs[key].dtype
    assert overlapping_rows(test.inputs[key], calibration.inputs[key]) == 0


@pytest.mark.parametrize("name", calibration_names())
def test_the_stored_calibration_data_are_those_that_the_code_makes(name: str) -> None:
    made, kept = make_calibration(name), stored_calibration(name)
    for key, array in made.inputs.items():
        assert np.mean(array != kept.inputs[key]) < 0.001  # a last bit, as above


def test_another_seed_makes_other_samples() -> None:
    for load in (load_machine_split, load_keyword_split, load_gesture_split):
        assert overlapping_rows(load(0).test.only_input(), load(1).test.only_input()) == 0


def test_digits_keep_their_label_when_warped_and_stay_in_range() -> None:
    images = torch.from_numpy(load_digit_split(32, 1).test.only_input()[:20])
    warped = warp_digits(images, torch.Generator().manual_seed(0))
    assert warped.shape == images.shape
    assert 0 <= warped.min() <= warped.max() <= 1
    alike = nn.functional.cosine_similarity(warped.flatten(1), images.flatten(1))
    assert 0.5 < alike.min() < alike.max() < 1


def test_crops_are_stretches_of_the_recording_of_many_lengths() -> None:
    motion = torch.arange(96.0).reshape(1, 96, 1).expand(2, -1, 3)
    generator = torch.Generator().manual_seed(0)
    crops = [crop_randomly(motion, generator) for _ in range(20)]
    assert len({crop.shape[1] for crop in crops}) > 5
    assert all(torch.all(crop.diff(dim=1) == 1) for crop in crops)


def test_samples_survive_a_file(tmp_path: Path) -> None:
    samples = Samples(inputs={"image": np.eye(3, dtype=np.float32)}, extras={"label": np.arange(3)})
    save_samples(tmp_path / "kept.npz", samples)
    kept = load_samples(tmp_path / "kept.npz", ("image",))
    assert (list(kept.inputs), list(kept.extras)) == (["image"], ["label"])
    np.testing.assert_array_equal(kept.only_input(), samples.only_input())


def test_top1_counts_hits() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert top1({"output": logits}, {"label": np.array([1, 0, 0, 0])}) == 0.75


def test_auc_ranks_by_reconstruction_error() -> None:
    target = np.zeros((4, 2))
    rebuilt = np.array([[0.1, 0.1], [0.5, 0.5], [0.3, 0.3], [0.9, 0.9]])
    extras = {"label": np.array([0, 0, 1, 1]), "target": target}
    assert reconstruction_auc({"output": rebuilt}, extras) == 0.75


def test_training_is_repeatable_and_learns() -> None:
    def train(seed: int) -> tuple[torch.Tensor, float]:
        torch.manual_seed(seed)
        model = nn.Linear(2, 1)
        inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        targets = inputs @ torch.tensor([[2.0], [-1.0]])
        recipe = TrainingRecipe(epochs=40, batch_size=16, learning_rate=0.1, seed=seed)
        fit(model, (inputs, targets), recipe, nn.functional.mse_loss)
        return model.weight.detach(), nn.functional.mse_loss(model(inputs), targets).item()

    weights, loss = train(0)
    torch.testing.assert_close(weights, train(0)[0], atol=0, rtol=0)
    assert not torch.equal(weights, train(1)[0])
    assert loss < 0.1
