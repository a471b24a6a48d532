"""Data in all the forms users have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeconv.data import Data, check_data, read_batches, write_batches
from edgeconv.errors import InvalidInputError, OutputError, UsageError
from edgeconv.formats.handler import Array

IMAGE = np.arange(24, dtype="float32").reshape(6, 4)
LABEL = np.arange(6)


def _read(data: Data) -> list[dict[str, Array]]:
    return list(read_batches(data))


def test_an_archive_and_a_mapping_are_one_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=IMAGE, label=LABEL)
    for data in (tmp_path / "d.npz", str(tmp_path / "d.npz"), {"image": IMAGE, "label": LABEL}):
        (batch,) = _read(data)
        assert sorted(batch) == ["image", "label"]
        assert np.array_equal(batch["image"], IMAGE)


def test_a_folder_is_one_batch_that_is_not_read_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", IMAGE)
    np.save(tmp_path / "label.npy", LABEL)
    (batch,) = _read(tmp_path)
    assert isinstance(batch["image"], np.memmap)
    assert np.array_equal(batch["image"], IMAGE)


def _batches() -> Iterator[dict[str, Array]]:
    yield {"image": IMAGE[:2]}
    yield {"image": IMAGE[2:]}


@pytest.mark.parametrize(
    "data",
    [
        list(_batches()),
        _batches,
        [(batch, LABEL) for batch in _batches()],
        [{"image": IMAGE[:2].tolist()}, {"image": IMAGE[2:]}],
    ],
    ids=["list", "function", "labelled", "plain lists"],
)
def test_batches_are_read_one_by_one(data: Data) -> None:
    found = _read(data)
    assert [batch["image"].shape for batch in found] == [(2, 4), (4, 4)]


def test_a_function_is_asked_for_its_batches_every_time() -> None:
    assert len(_read(_batches)) == len(_read(_batches)) == 2


def test_batches_are_written_where_another_process_reads_them(tmp_path: Path) -> None:
    folder = write_batches(_batches, tmp_path / "batches", most=10)
    assert [batch["image"].shape for batch in _read(folder)] == [(2, 4), (4, 4)]
    assert len(_read(write_batches(_batches, tmp_path / "few", most=1))) == 1


def test_no_more_batches_are_drawn_than_are_wanted(tmp_path: Path) -> None:
    drawn = []

    def endless() -> Iterator[dict[str, Array]]:
        while True:
            drawn.append(1)
            yield {"image": IMAGE}

    write_batches(endless, tmp_path / "batches", most=3)
    assert len(drawn) == 3


def test_a_path_is_written_nowhere(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=IMAGE)
    assert write_batches(tmp_path / "d.npz", tmp_path / "no", most=1) == tmp_path / "d.npz"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ("", UsageError, "an empty text"),
        ("no-such.npz", InvalidInputError, "do not exist"),
        (3, UsageError, "cannot be an object of type int"),
        ({}, InvalidInputError, "hold no arrays"),
        ({"image": object()}, InvalidInputError, "no array of numbers"),
        ({"image": [[1, 2], [3]]}, InvalidInputError, "is no array"),
        ([IMAGE], InvalidInputError, "batch 0 of the samples is a ndarray"),
        ([{"image": IMAGE}, "x"], InvalidInputError, "batch 1 of the samples is a str"),
        (IMAGE, InvalidInputError, "is a ndarray"),
    ],
)
def test_what_is_no_data_is_refused(data: Data, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        _read(data)


def test_nothing_is_read_to_check(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_text("no archive")
    check_data(tmp_path / "d.npz")
    with pytest.raises(InvalidInputError, match="plain text"):
        _read(tmp_path / "d.npz")


def test_no_batch_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="have no batch"):
        write_batches([], tmp_path / "batches", most=1)


def test_a_place_that_cannot_be_written_is_told() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_batches({"image": IMAGE}, Path("/proc/batches"), most=1)
