"""A file and the second one that belongs to it are copied, moved, removed and digested together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgeconv.artifact import digest_path, measure_size
from edgeconv.formats.companion import companion
from edgeconv.store import Cached, Store
from edgeconv.store.files import copy, link, move, remove


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"graph")
    companion(path).write_bytes(b"weights")
    return path


def test_the_digest_is_of_both(pair: Path) -> None:
    alone = hashlib.sha256(b"graph").hexdigest()
    both = digest_path(pair)
    assert both != alone
    companion(pair).write_bytes(b"others")
    assert digest_path(pair) not in (alone, both)
    companion(pair).unlink()
    assert digest_path(pair) == alone


def test_the_size_is_of_both(pair: Path) -> None:
    assert measure_size(pair) == len(b"graph" + b"weights")


@pytest.mark.parametrize("place", [copy, link])
def test_both_are_copied_and_weights_share_nothing(
    pair: Path, tmp_path: Path, place: object
) -> None:
    target = tmp_path / "other" / "abc"
    assert callable(place)
    place(pair, target)
    assert (target.read_bytes(), companion(target).read_bytes()) == (b"graph", b"weights")
    assert companion(pair).stat().st_nlink == 1
    remove(target)
    assert list(target.parent.iterdir()) == []


def test_both_take_the_place_of_one(pair: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.onnx"
    target.write_bytes(b"old")
    move(pair, target)
    assert (target.read_bytes(), companion(target).read_bytes()) == (b"graph", b"weights")
    assert not pair.exists()
    assert not companion(pair).exists()


def test_one_takes_the_place_of_both(pair: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    small.write_bytes(b"small")
    move(small, pair)
    assert pair.read_bytes() == b"small"
    assert not companion(pair).exists()


def test_the_store_keeps_both(pair: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = store.digests.digest(pair)
    assert digest == digest_path(pair)
    store.save("ab" * 32, Cached(result={}, digest=digest), pair)
    assert store.find("ab" * 32) is not None
    target = tmp_path / "fetched.onnx"
    assert store.fetch(digest, target)
    assert digest_path(target) == digest
    store.prune(max_bytes=10**9)
    assert store.find("ab" * 32) is not None
    second = next((tmp_path / "store" / "objects").glob("*/*.data"))
    second.write_bytes(b"damaged")
    assert store.find("ab" * 32) is None
    assert not second.exists()
