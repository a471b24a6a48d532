"""What every handler promises: it refuses damage in words, stamps without changing the model, and runs by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.formats import FORMATS, detect, find_format, load_handler
from edgeconv.formats.handler import Array
from edgeconv.signature import Signature
from tests.conftest import FORMATS as DELIVERED
from tests.conftest import Delivered

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("artifacts"),
    pytest.mark.filterwarnings("ignore"),
]

FILES = [format_id for format_id in DELIVERED if format_id != "savedmodel"]


def _copy(delivered: Delivered, format_id: str, folder: Path) -> Path:
    source = delivered.artifacts[format_id].path
    target = folder / source.name
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    return target


def _arrays(delivered: Delivered) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in delivered.example.inputs.items()}


@pytest.mark.parametrize("format_id", DELIVERED)
def test_a_format_is_told_from_the_content(pair: Delivered, tmp_path: Path, format_id: str) -> None:
    path = _copy(pair, format_id, tmp_path)
    renamed = path.rename(tmp_path / "model.bin")
    assert detect(renamed).id == format_id


@pytest.mark.parametrize("format_id", FILES)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.8, 0.9])
def test_a_truncated_file_is_refused(
    pair: Delivered, tmp_path: Path, format_id: str, share: float
) -> None:
    path = _copy(pair, format_id, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    handler = load_handler(format_id)
    calls: list[Callable[[Path], object]] = [handler.read_signature, handler.open]
    for call in calls:
        with pytest.raises(InvalidInputError) as caught:
            call(path)
        assert caught.value.why
        assert caught.value.hint


@pytest.mark.parametrize("damage", ["no graph", "cut graph", "empty graph", "no variables"])
def test_a_damaged_savedmodel_is_refused(pair: Delivered, tmp_path: Path, damage: str) -> None:
    path = _copy(pair, "savedmodel", tmp_path)
    graph = path / "saved_model.pb"
    if damage == "no graph":
        graph.unlink()
    elif damage == "cut graph":
        graph.write_bytes(graph.read_bytes()[:-100])
    elif damage == "empty graph":
        graph.write_bytes(b"")
    else:
        shutil.rmtree(path / "variables")
    with pytest.raises(InvalidInputError):
        load_handler("savedmodel").open(path)


@pytest.mark.parametrize("format_id", FILES)
@pytest.mark.parametrize("content", [b"", b"\x08", b"\x08\x0a", b"text", bytes(100)])
def test_what_is_no_model_is_refused(tmp_path: Path, format_id: str, content: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError):
        load_handler(format_id).read_signature(path)
    with pytest.raises(InvalidInputError):
        detect(path)


def _renamed(signature: Signature) -> Signature:
    inputs = tuple(replace(spec, name=f"in_{spec.name}") for spec in signature.inputs)
    outputs = tuple(replace(spec, name=f"out_{spec.name}") for spec in signature.outputs)
    return replace(signature, inputs=inputs, outputs=outputs)


@pytest.mark.parametrize("format_id", ["onnx", "tflite"])
def test_stamping_renames_and_changes_nothing_else(
    pair: Delivered, tmp_path: Path, format_id: str
) -> None:
    path, handler = _copy(pair, format_id, tmp_path), load_handler(format_id)
    wanted = _renamed(pair.artifacts[format_id].signature)
    handler.stamp(path, wanted, {"author": "Bob"})
    assert handler.read_signature(path) == wanted
    assert handler.read_metadata(path)["author"] == "Bob"
    with handler.open(path) as session:
        outputs = session.run({f"in_{n}": a for n, a in _arrays(pair).items()}).outputs
    before = pair.artifacts[format_id].run(_arrays(pair))
    assert outputs.keys() == {f"out_{name}" for name in before}
    assert all(np.array_equal(outputs[f"out_{name}"], before[name]) for name in before)


@pytest.mark.parametrize("format_id", DELIVERED)
def test_stamping_replaces_the_metadata(pair: Delivered, tmp_path: Path, format_id: str) -> None:
    path, handler = _copy(pair, format_id, tmp_path), load_handler(format_id)
    signature = pair.artifacts[format_id].signature
    handler.stamp(path, signature, {"author": "Bob", "labels": "x\ny"})
    found = handler.read_metadata(path)
    assert (found["author"], found["labels"]) == ("Bob", "x\ny")
    assert handler.read_signature(path) == signature
    with handler.open(path) as session:
        outputs = session.run(_arrays(pair)).outputs
    before = pair.artifacts[format_id].run(_arrays(pair))
    assert all(np.array_equal(outputs[name], before[name]) for name in before)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format_id", ["onnx", "tflite", "savedmodel"])
def test_names_that_do_not_fit_leave_the_file_as_it_was(
    pair: Delivered, tmp_path: Path, format_id: str
) -> None:
    path, handler = _copy(pair, format_id, tmp_path), load_handler(format_id)
    signature = pair.artifacts[format_id].signature
    fewer = replace(signature, outputs=signature.outputs[:1])
    before = handler.read_metadata(path)
    with pytest.raises(InvalidInputError):
        handler.stamp(path, fewer, {"author": "Bob"})
    assert handler.read_metadata(path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def _without(arrays: dict[str, Array]) -> dict[str, Array]:
    return {"tokens": arrays["tokens"]}


def _with_another(arrays: dict[str, Array]) -> dict[str, Array]:
    return {**arrays, "more": np.zeros(1)}


def _of_another_dtype(arrays: dict[str, Array]) -> dict[str, Array]:
    return {**arrays, "tokens": arrays["tokens"].astype(np.int32)}


def _of_another_shape(arrays: dict[str, Array]) -> dict[str, Array]:
    return {**arrays, "image": arrays["image"][:, :3]}


def _of_another_rank(arrays: dict[str, Array]) -> dict[str, Array]:
    return {**arrays, "image": arrays["image"][0]}


def _of_two_batches(arrays: dict[str, Array]) -> dict[str, Array]:
    return {**arrays, "image": np.concatenate([arrays["image"]] * 2)}


Change: TypeAlias = Callable[[dict[str, Array]], dict[str, Array]]
WRONG: dict[Change, str] = {
    _without: "input 'image' is missing",
    _with_another: "there is no input 'more'",
    _of_another_dtype: "'tokens' is int32, not int64",
    _of_another_shape: "'image' has shape [2, 3, 4, 4], which is not image:float32[N,6,4,4]",
    _of_another_rank: "'image' has shape [6, 4, 4], which is not image:float32[N,6,4,4]",
    _of_two_batches: "'image' has shape [4, 6, 4, 4], which is not image:float32[N,6,4,4]",
}


@pytest.mark.parametrize("format_id", DELIVERED)
@pytest.mark.parametrize("change", WRONG)
def test_every_format_refuses_wrong_inputs_in_the_same_words(
    pair: Delivered,
    format_id: str,
    change: Change,
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        pair.artifacts[format_id].run(change(_arrays(pair)))
    assert caught.value.details == (WRONG[change],)


@pytest.mark.parametrize("format_id", DELIVERED)
def test_a_session_runs_at_any_batch_size_and_often(pair: Delivered, format_id: str) -> None:
    artifact = pair.artifacts[format_id]
    with load_handler(format_id).open(artifact.path) as session:
        for batch in (1, 5, 2, 5):
            inputs = {n: np.resize(a, (batch, *a.shape[1:])) for n, a in _arrays(pair).items()}
            result = session.run(inputs, repeat=3)
            assert result.outputs["scores"].shape == (batch, 5)
            assert len(result.latencies_seconds) == 3
            alone = artifact.run(inputs)
            assert all(np.array_equal(result.outputs[n], alone[n]) for n in alone)


def test_formats_without_a_file_have_no_handler() -> None:
    with pytest.raises(UsageError, match="is not a file format"):
        load_handler("torch")
    with pytest.raises(UsageError, match="unknown format 'caffe'"):
        find_format("caffe")


def test_suffixes_tell_formats_apart() -> None:
    suffixes = [known.suffix for known in FORMATS if known.suffix]
    assert len(set(suffixes)) == len(suffixes)


def test_a_folder_and_a_missing_file_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is a folder"):
        detect(tmp_path)
    with pytest.raises(InvalidInputError, match="does not exist"):
        detect(tmp_path / "nothing")


def test_a_pickle_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InvalidInputError, match="is a pickle") as caught:
        detect(path)
    assert "--weights" in caught.value.hint
