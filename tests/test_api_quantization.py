"""`ec.quantize`: data in every form, and sample models with integer inputs and lengths of any size, in both formats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

import edgeconv as ec
from tests.cli.quantizable import Shelf, stock

pytest.importorskip("ai_edge_quantizer")
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("api-quantize")]

Array = NDArray[np.generic]
FORMATS = ("tflite", "onnx")
SAMPLES = Path(__file__).parents[1] / "sample_models"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return stock(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_CACHE_DIR", str(tmp_path / "cache"))


def report_of(artifact: ec.Artifact) -> dict[str, object]:
    path = artifact.path.with_name(f"{artifact.path.name}.report.json")
    return cast("dict[str, object]", json.loads(path.read_text()))


def _batches(shelf: Shelf) -> Iterator[dict[str, Array]]:
    image = np.load(shelf.calibration)["image"]
    for at in range(0, len(image), 16):
        yield {"image": image[at : at + 16]}


def test_all_forms_of_data_calibrate_alike(shelf: Shelf, tmp_path: Path) -> None:
    forms: dict[str, object] = {
        "path": shelf.calibration,
        "text": str(shelf.calibration),
        "mapping": dict(np.load(shelf.calibration)),
        "batches": list(_batches(shelf)),
        "function": lambda: _batches(shelf),
    }
    made = {
        name: ec.quantize(shelf.tflite, calibration=data, out=tmp_path / name)  # type: ignore[arg-type]  # each is a form of data
        for name, data in forms.items()
    }
    assert {artifact.path.name for artifact in made.values()} == {"network.int8.tflite"}
    assert len({artifact.path.read_bytes() for artifact in made.values()}) == 1


def test_what_comes_back(shelf: Shelf, tmp_path: Path) -> None:
    source = ec.Artifact.read(shelf.onnx)
    image = np.load(shelf.test)["image"]
    labelled = [
        ({"image": image[at : at + 40]}, np.load(shelf.test)["label"][at : at + 40])
        for at in (0, 40, 80)
    ]
    small = ec.quantize(
        source,
        calibration=shelf.calibration,
        data=labelled,
        max_drop=0.05,
        name="tiny",
        out=tmp_path,
    )
    assert (small.name, small.precision, small.format) == ("tiny", "int8", "onnx")
    assert small.parents == (source.digest,)
    assert small.path == tmp_path / "tiny.int8.onnx"
    got = small.run({"image": image})
    assert list(got) == ["logits", "scores"]
    judged = cast("dict[str, object]", report_of(small)["evaluation"])
    assert (judged["metric"], judged["samples"], judged["before"]) == ("top1", 120, 1.0)


def test_beside_the_artifact_unless_told_otherwise(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "network.tflite"
    path.write_bytes(shelf.tflite.read_bytes())
    small = ec.quantize(path, recipe="int8-dynamic")
    assert small.path == tmp_path / "network.int8-dynamic.tflite"
    assert small.path.stat().st_size < path.stat().st_size * 1.3


def test_a_saved_recipe_and_overrides(shelf: Shelf, tmp_path: Path) -> None:
    data = {"calibration": shelf.calibration}
    first = ec.quantize(shelf.tflite, overrides={"scores": "float32"}, out=tmp_path / "a", **data)
    layers = cast("list[dict[str, str]]", report_of(first)["layers"])
    assert {one["name"]: one["precision"] for one in layers}["scores"] == "float32"
    saved = first.path.with_name(f"{first.path.name}.recipe.json")
    again = ec.quantize(shelf.tflite, recipe=saved, out=tmp_path / "b", **data)
    assert again.digest == first.digest


def test_errors_are_those_of_edgeconv(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ec.UsageError, match="no recipe 'int7'"):
        ec.quantize(shelf.tflite, recipe="int7", out=tmp_path)
    with pytest.raises(ec.UsageError, match="needs real inputs"):
        ec.quantize(shelf.tflite, out=tmp_path)
    with pytest.raises(ec.InvalidInputError, match="no array for input 'image'"):
        ec.quantize(shelf.tflite, calibration={"picture": np.zeros((2, 8, 8, 3))}, out=tmp_path)
    with pytest.raises(ec.InvalidInputError, match="holds no samples"):
        ec.quantize(shelf.tflite, calibration=[], out=tmp_path)
    with pytest.raises(ec.InvalidInputError, match="does not exist"):
        ec.quantize(tmp_path / "none.tflite", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, ec.Artifact]]:
    """Two sample models, each converted once."""
    torch = pytest.importorskip("torch")
    del torch
    from edgeconv.conversion import ConversionOptions, run_conversion

    found: dict[str, Mapping[str, ec.Artifact]] = {}
    inputs = {
        "gesture_lstm": ("motion:float32[N=1,T=64,3]",),
        "sentence_encoder": ("input_ids:int64[N=1,S=16]", "attention_mask:int64[N=1,S=16]"),
    }
    for name, specs in inputs.items():
        options = ConversionOptions(
            model=f"{SAMPLES / name}/model.py:create",
            weights=SAMPLES / name / "weights.safetensors",
            inputs=specs,
            goals=FORMATS,
            name=name,
            out=tmp_path_factory.mktemp(name),
        )
        outcome = run_conversion(options, ec_silent()).outcome
        found[name] = {goal.format: goal.artifact for goal in outcome.goals if goal.artifact}
    return found


def ec_silent() -> object:
    from edgeconv.api import Silent

    return Silent()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic"])
def test_token_ids_and_sentences_of_any_length(
    converted: Mapping[str, Mapping[str, ec.Artifact]], tmp_path: Path, format_id: str, recipe: str
) -> None:
    source = converted["sentence_encoder"][format_id]
    test = SAMPLES / "sentence_encoder" / "test.npz"
    small = ec.quantize(source, recipe=recipe, calibration=test, out=tmp_path)
    assert [spec.dtype.value for spec in small.signature.inputs] == ["int64", "int64"]
    assert str(small.signature) == str(source.signature)
    ids = np.load(test)["input_ids"]
    for count, length in ((1, 5), (3, 16)):
        tokens = {
            "input_ids": ids[:count, :length],
            "attention_mask": np.ones((count, length), np.int64),
        }
        wanted, got = source.run(tokens), small.run(tokens)
        for name, values in wanted.items():
            cosine = np.sum(values * got[name]) / np.linalg.norm(values) / np.linalg.norm(got[name])
            assert cosine > 0.99, (name, length)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic"])
def test_recordings_of_any_length(
    converted: Mapping[str, Mapping[str, ec.Artifact]], tmp_path: Path, format_id: str, recipe: str
) -> None:
    source = converted["gesture_lstm"][format_id]
    test = SAMPLES / "gesture_lstm" / "test.npz"
    held = np.load(test)
    np.savez(tmp_path / "c.npz", motion=held["motion"][:100])
    small = ec.quantize(source, recipe=recipe, calibration=tmp_path / "c.npz", out=tmp_path)
    motion = held["motion"][100:]
    got = next(iter(small.run({"motion": motion}).values()))
    wanted = next(iter(source.run({"motion": motion}).values()))
    assert np.mean(got.argmax(1) == wanted.argmax(1)) > 0.97
    assert next(iter(small.run({"motion": motion[:2, :17]}).values())).shape == (2, got.shape[1])
