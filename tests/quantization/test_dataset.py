"""Data in every form, read sample by sample, and what is no data."""

from __future__ import annotations

import io
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.dims import DimExpr
from edgeconv.errors import InvalidInputError
from edgeconv.quantization.dataset import Batch, Dataset
from edgeconv.signature import Dim, DType, Signature, TensorSpec
from tests.quantization.conftest import Opener, vectors

Array = NDArray[np.generic]


def rows(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def everything(dataset: Dataset, *, most: int = 1) -> Iterator[Batch]:
    return dataset.read(range(dataset.count), most=most)


def inputs(dataset: Dataset, name: str = "x") -> Array:
    return np.concatenate([batch.inputs[name] for batch in everything(dataset)])


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture(params=["npz", "compressed", "npy", "archives"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Seven samples with labels and names of classes."""
    arrays: dict[str, Array] = {
        "x": rows(7),
        "label": np.arange(7),
        "classes": np.array(["a", "b"]),
    }
    if request.param in ("npz", "compressed"):
        path = tmp_path / "data.npz"
        save = np.savez if request.param == "npz" else np.savez_compressed
        save(path, **arrays)  # type: ignore[arg-type]  # the stub takes the keys for options
        return path
    folder = tmp_path / "data"
    folder.mkdir()
    if request.param == "npy":
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
    else:
        for number, part in enumerate(np.array_split(np.arange(7), 3)):
            cut = {"x": arrays["x"][part], "label": arrays["label"][part]}
            np.savez(folder / f"{number}.npz", **cut)  # type: ignore[arg-type]  # the stub takes the keys for options
    return folder


def test_every_form_holds_the_same(stored: Path, opened: Opener) -> None:
    dataset = opened(stored)
    assert dataset.count == 7
    assert dataset.extra_names == {"label"}  # what has another length belongs to no sample
    np.testing.assert_array_equal(inputs(dataset), rows(7))
    labels = np.concatenate([batch.extras["label"] for batch in everything(dataset, most=4)])
    np.testing.assert_array_equal(labels, np.arange(7))


def test_batches_are_as_large_as_is_allowed(stored: Path, opened: Opener) -> None:
    sizes = [len(batch.indices) for batch in everything(opened(stored), most=4)]
    assert sizes == [4, 3]
    limited = opened(stored, vectors(most=2))
    assert [len(batch.inputs["x"]) for batch in everything(limited, most=4)] == [2, 2, 2, 1]


def test_a_fixed_batch_takes_its_rows_and_their_labels(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", x=rows(6), label=np.arange(6))
    batches = list(everything(opened(tmp_path / "d.npz", vectors(batch=2)), most=9))
    assert [batch.inputs["x"].shape for batch in batches] == [(2, 3)] * 3
    assert [batch.extras["label"].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5]]


def test_one_axis_more_makes_whole_inputs(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", x=rows(6).reshape(3, 2, 3), label=np.arange(3))
    batches = list(everything(opened(tmp_path / "d.npz", vectors(batch=2))))
    assert [batch.inputs["x"].shape for batch in batches] == [(2, 3)] * 3
    assert [batch.extras["label"].tolist() for batch in batches] == [[0], [1], [2]]


def _sentences() -> Signature:
    n, s = DimExpr.symbol("N"), DimExpr.symbol("S")
    return Signature(
        inputs=(
            TensorSpec(name="ids", dtype=DType.INT64, shape=(n, s)),
            TensorSpec(name="mask", dtype=DType.INT64, shape=(n, s)),
        ),
        outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=(n, 2)),),
        dims=(Dim(name="N", example=1), Dim(name="S", example=4)),
    )


def test_samples_of_several_inputs_and_sizes(tmp_path: Path, opened: Opener) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for number, length in enumerate((4, 4, 6)):
        ids = np.full((2, length), number)
        np.savez(folder / f"{number}.npz", ids=ids, mask=ids)
    batches = list(everything(opened(folder, _sentences()), most=8))
    assert [batch.inputs["ids"].shape for batch in batches] == [(4, 4), (2, 6)]
    assert [batch.indices for batch in batches] == [(0, 1, 2, 3), (4, 5)]


def test_inputs_of_different_counts_are_refused(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", ids=np.ones((2, 4), int), mask=np.ones((3, 4), int))
    with pytest.raises(InvalidInputError, match="different numbers of samples"):
        opened(tmp_path / "d.npz", _sentences())


def test_labels_that_are_too_few_are_refused(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", x=rows(4), label=np.arange(3))
    with pytest.raises(InvalidInputError, match="other numbers of labels") as caught:
        opened(tmp_path / "d.npz")
    assert "[3] for 4 samples" in caught.value.why


def test_arrays_are_mapped_and_not_read(tmp_path: Path, opened: Opener) -> None:
    np.save(tmp_path / "x.npy", rows(1000))
    dataset = opened(tmp_path)
    assert isinstance(dataset._parts[0]["x"], np.memmap)


def test_more_archives_than_files_may_be_open(tmp_path: Path, opened: Opener) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(160):
        np.savez(folder / f"{number:04}.npz", x=rows(1, seed=number), label=np.array([number]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        dataset = opened(folder)
        labels = [int(batch.extras["label"][0]) for batch in everything(dataset)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert labels == list(range(160))


def test_names_in_an_archive_are_never_paths(tmp_path: Path, opened: Opener) -> None:
    evil, outside = tmp_path / "evil.npz", tmp_path / "outside.npy"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../outside.npy", npy(rows(2)))
        archive.writestr(str(tmp_path / "outside.npy"), npy(rows(2)))
        archive.writestr("x.npy", npy(rows(2)))
    assert opened(evil).count == 2
    assert not outside.exists()
    assert all(path.is_relative_to(tmp_path / "scratch") for path in tmp_path.rglob("*.npy"))


def test_an_input_may_have_a_slash_in_its_name(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serving/x.npy", npy(rows(2)))
        archive.writestr("other/x.npy", npy(rows(3)))
    signature = Signature(
        inputs=(TensorSpec(name="serving/x", dtype=DType.FLOAT32, shape=(1, 3)),),
        outputs=(),
        dims=(),
    )
    np.testing.assert_array_equal(inputs(opened(path, signature), "serving/x"), rows(2))


def _damaged(kind: str, path: Path) -> None:
    np.savez_compressed(path, x=np.zeros((500, 3), np.float32))
    data = bytearray(path.read_bytes())
    match kind:
        case "truncated":
            data = data[: len(data) // 2]
        case "flipped":
            data[60:90] = b"\xff" * 30
        case "encrypted":
            data[6] |= 1
            at = data.rindex(b"PK\x01\x02")
            data[at + 8] |= 1
        case "method":
            at = data.rindex(b"PK\x01\x02")
            data[8], data[at + 10] = 77, 77
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", ["truncated", "flipped", "encrypted", "method"])
def test_damaged_archives_are_told(kind: str, tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "d.npz"
    _damaged(kind, path)
    with pytest.raises(InvalidInputError) as caught:
        opened(path)
    assert "cannot be read" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"hello", "cannot be read"),
        (npy(np.ones(3)), "no input names"),
    ],
)
def test_what_is_no_archive_is_told(
    content: bytes, message: str, tmp_path: Path, opened: Opener
) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r".") as caught:
        opened(tmp_path / "d.npz")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 3), np.float32), "holds no samples"),
        (np.zeros((4, 5), np.float32), "do not fit"),
        (np.zeros((4, 3, 3, 3), np.float32), "do not fit"),
        (np.zeros((4, 3), np.int32), "another dtype"),
        (np.full((4, 3), np.nan, np.float32), "holds NaN"),
        (np.array([[{}]]), "cannot be read"),
    ],
    ids=["none", "width", "rank", "dtype", "nan", "objects"],
)
def test_arrays_that_do_not_fit(array: Array, message: str, tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", x=array)
    with pytest.raises(InvalidInputError) as caught:
        list(everything(opened(tmp_path / "d.npz")))
    assert message in str(caught.value)
    assert caught.value.hint


def test_a_missing_input_suggests_the_one_that_was_meant(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", X=rows(2))
    with pytest.raises(InvalidInputError, match="no array for input 'x'"):
        opened(tmp_path / "d.npz")
    with pytest.raises(InvalidInputError, match="does not exist"):
        opened(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no arrays"):
        opened(tmp_path / "empty")


def test_a_selection_is_that_of_its_seed(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "d.npz", x=rows(100))
    dataset = opened(tmp_path / "d.npz")
    chosen = dataset.select(10, seed=1)
    assert chosen == dataset.select(10, seed=1) == tuple(sorted(set(chosen)))
    assert chosen != dataset.select(10, seed=2)
    assert dataset.select(0, seed=1) == dataset.select(500, seed=1) == tuple(range(100))


def test_a_sample_is_known_again_wherever_it_lies(tmp_path: Path, opened: Opener) -> None:
    np.savez(tmp_path / "a.npz", x=rows(8), label=np.arange(8))
    np.savez(tmp_path / "b.npz", x=rows(8)[[5, 2]].astype(np.float64))
    first, second = opened(tmp_path / "a.npz"), Opener(tmp_path / "s2")(tmp_path / "b.npz")
    known = first.digests(range(8))
    assert len(set(known)) == 8
    assert second.digests(range(2)) == (known[5], known[2])


def test_what_is_wrong_in_an_archive_is_called_by_its_name(tmp_path: Path, opened: Opener) -> None:
    """Not by that of the file that it was unpacked to."""
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InvalidInputError) as caught:
        opened(tmp_path / "d.npz")
    assert caught.value.message == f"'x' in '{tmp_path / 'd.npz'}' cannot be read"
