"""Data that a program holds, as files for the worker: so many samples, all equally likely, with what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.data import Data
from edgeconv.errors import InvalidInputError
from edgeconv.quantization.dataset import open_dataset
from edgeconv.quantization.spooling import spool
from edgeconv.signature import DType, Signature, TensorSpec
from tests.quantization.conftest import vectors

Array = NDArray[np.generic]
Content = list[tuple[float, int]]


def batch(numbers: range) -> dict[str, Array]:
    """The number of a sample stands in its first value."""
    x = np.zeros((len(numbers), 3), np.float32)
    x[:, 0] = numbers
    return {"x": x}


def content(path: Path, scratch: Path) -> Content:
    dataset = open_dataset(path, vectors(), scratch=scratch, preprocess=None, what="the data")
    return [
        (float(one.inputs["x"][0, 0]), int(one.extras["label"][0]))
        for one in dataset.read(range(dataset.count))
    ]


def spooled(data: Data, folder: Path, *, most: int = 0, seed: int = 0) -> Content:
    return content(spool(data, vectors(), folder / "s", most=most, seed=seed), folder / "u")


def _labelled() -> Iterator[tuple[dict[str, Array], Array]]:
    for start in range(0, 12, 5):
        numbers = range(start, min(12, start + 5))
        yield batch(numbers), np.asarray(numbers) * 10


@pytest.mark.parametrize("form", ["mapping", "batches", "labelled", "function"])
def test_every_form(form: str, tmp_path: Path) -> None:
    labelled = {**batch(range(12)), "label": np.arange(12) * 10}
    data: Data
    match form:
        case "mapping":
            data = labelled
        case "batches":
            data = [
                {key: values[at : at + 5] for key, values in labelled.items()} for at in (0, 5, 10)
            ]
        case "labelled":
            data = list(_labelled())
        case _:
            data = _labelled
    assert spooled(data, tmp_path) == [(float(n), 10 * n) for n in range(12)]


def test_a_path_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "d.npz").touch()
    assert (
        spool(tmp_path / "d.npz", vectors(), tmp_path / "s", most=3, seed=0) == tmp_path / "d.npz"
    )
    assert not (tmp_path / "s").exists()


def test_no_more_are_ever_kept_than_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "s"

    def watched() -> Iterator[dict[str, Array]]:
        for number in range(40):
            yield {**batch(range(number, number + 1)), "label": np.array([number])}
            assert len(list(folder.iterdir())) <= 6 if folder.exists() else True

    spool(watched, vectors(), folder, most=6, seed=0)
    kept = content(folder, tmp_path / "u")
    assert len(kept) == 6
    assert all(first == label for first, label in kept)  # a sample keeps its own label


def test_the_selection_is_that_of_its_seed(tmp_path: Path) -> None:
    data = {**batch(range(60)), "label": np.arange(60)}
    kept = [spooled(data, tmp_path / str(n), most=5, seed=seed) for n, seed in enumerate((1, 1, 2))]
    assert kept[0] == kept[1] != kept[2]


def test_all_samples_are_equally_likely(tmp_path: Path) -> None:
    count, most, runs = 10, 3, 300
    data = {**batch(range(count)), "label": np.arange(count)}
    times = np.zeros(count)
    for seed in range(runs):
        folder = tmp_path / str(seed)
        spool(data, vectors(), folder, most=most, seed=seed)
        for file in folder.iterdir():
            times[int(np.load(file)["label"][0])] += 1
    expected = runs * most / count
    chi_squared = float(np.square(times - expected).sum() / expected)
    assert chi_squared < 27.9  # 0.1 % of fair selections are further off (9 degrees of freedom)
    assert times.sum() == runs * most


@pytest.mark.parametrize("name", ["file", "args", "allow_pickle", "serving/x:0"])
def test_an_input_may_have_any_name(name: str, tmp_path: Path) -> None:
    signature = Signature(
        inputs=(TensorSpec(name=name, dtype=DType.FLOAT32, shape=(1, 3)),), outputs=(), dims=()
    )
    folder = spool({name: batch(range(2))["x"]}, signature, tmp_path / "s", most=0, seed=0)
    dataset = open_dataset(
        folder, signature, scratch=tmp_path / "u", preprocess=None, what="the data"
    )
    assert [float(one.inputs[name][0, 0]) for one in dataset.read(range(2))] == [0, 1]


def test_what_is_no_data(tmp_path: Path) -> None:
    wrong: list[tuple[object, str]] = [
        ([], "holds no samples"),
        ([np.zeros((2, 3))], "is a ndarray"),
        ([{"x": [object()]}], "no array of numbers"),
        ([{"y": np.zeros((2, 3), np.float32)}], "no array for input 'x'"),
        ([{"x": np.full((2, 3), np.nan, np.float32)}], "holds NaN"),
    ]
    for data, message in wrong:
        with pytest.raises(InvalidInputError) as caught:
            spool(data, vectors(), tmp_path / "s", most=0, seed=0)  # type: ignore[arg-type]  # that is the point
        assert message in str(caught.value)
        assert caught.value.hint
