"""Samples with what the float model makes of them, and how far another model is from that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.quantization.evaluation import Evaluation, mean_snr_db, snr_db
from edgeconv.quantization.metrics import find_metric
from tests.quantization.conftest import Opener, vectors

Array = NDArray[np.generic]


def test_noise_in_decibels() -> None:
    wanted = np.random.default_rng(0).normal(size=10_000)
    noise = np.random.default_rng(1).normal(size=10_000) * 0.01
    assert snr_db(wanted, wanted + noise) == pytest.approx(40, abs=0.3)
    assert snr_db(wanted, wanted) == 200
    assert snr_db(wanted, -wanted) == pytest.approx(-6.02, abs=0.01)
    assert mean_snr_db({"a": wanted, "b": wanted}, {"a": wanted, "b": wanted + noise}) == (
        pytest.approx(120, abs=0.3)
    )


def test_what_is_infinite_in_the_reference_is_not_told() -> None:
    wanted = np.array([1.0, -np.inf, 2.0])
    assert snr_db(wanted, np.array([1.0, -1e9, 2.0])) == 200
    assert snr_db(wanted, np.array([1.1, -np.inf, 2.0])) == pytest.approx(27, abs=0.1)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_nothing_is_worse_than_nan(broken: float) -> None:
    assert snr_db(np.ones(3), np.array([1, broken, 1])) == -200


def _run(inputs: Mapping[str, Array]) -> Mapping[str, NDArray[np.float32]]:
    return {"y": inputs["x"][:, :2].astype(np.float32) * 2}


def test_outputs_of_all_samples_stand_together(tmp_path: Path, opened: Opener) -> None:
    x = np.random.default_rng(0).normal(size=(150, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, label=x[:, :2].argmax(axis=1))
    dataset = opened(tmp_path / "d.npz")
    found = Evaluation.of(dataset, range(dataset.count), _run, keeps_inputs=True)
    np.testing.assert_array_equal(found.reference["y"], x[:, :2] * 2)
    np.testing.assert_array_equal(found.inputs["x"], x)
    top1 = find_metric("top1")
    assert found.measure(top1, found.reference) == 1
    other = found.run(lambda inputs: {"y": -_run(inputs)["y"]})
    assert found.measure(top1, other) == 0


def test_samples_of_different_sizes_are_compared_value_by_value(
    tmp_path: Path, opened: Opener
) -> None:
    np.savez(tmp_path / "d.npz", x=np.ones((2, 3), np.float32))
    dataset = opened(tmp_path / "d.npz", vectors(batch=1))
    sizes = iter([1, 2])
    found = Evaluation.of(
        dataset, [0, 1], lambda _: {"y": np.ones((1, next(sizes)))}, keeps_inputs=False
    )
    assert found.reference["y"].shape == (3,)
