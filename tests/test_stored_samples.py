"""Samples as users store them: damaged files end with an error in words, whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.data import read_batches
from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array


def _read(path: Path) -> dict[str, Array]:
    (batch,) = read_batches(path)
    return batch


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, image=np.random.default_rng(0).random((4, 100)), label=np.arange(4))
    return path


def test_an_archive_and_a_folder_hold_the_same(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    found = _read(samples)
    for name, array in found.items():
        np.save(folder / f"{name}.npy", array)
    again = _read(folder)
    assert found.keys() == again.keys() == {"image", "label"}
    assert all(np.array_equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_samples_are_damaged(samples: Path, share: float) -> None:
    data = samples.read_bytes()
    samples.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        _read(samples)


def test_a_damaged_member_is_told(samples: Path) -> None:
    data = bytearray(samples.read_bytes())
    data[len(data) // 3] ^= 0xFF
    samples.write_bytes(data)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        _read(samples)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"\x80\x05."])
def test_what_are_no_samples_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        _read(path)


def test_pickled_samples_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    with path.open("wb") as stream:
        np.savez(stream, image=np.array([print], dtype=object))
    with pytest.raises(InvalidInputError, match="cannot be read"):
        _read(path)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_nothing_is_told(tmp_path: Path, make: object) -> None:
    path = tmp_path / "samples"
    make(path)  # type: ignore[operator]
    with pytest.raises(InvalidInputError):
        _read(path)
